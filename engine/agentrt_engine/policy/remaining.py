"""How much work a running program still has, learned from the programs that have ended.

Work is seconds of engine time if nothing is lost: new prompt tokens and output tokens, each at
a constant cost. For a program after k turns the estimate is

    ln(remaining) = mean(agent, stage) + f_stage(what the engine saw of the program)

The mean is over ended programs, shrunk towards that of the stage; a stage is a range of k. f is
an additive regression of the residuals. Nothing is learned from a program before it ends, and
each is first predicted and then learned from, so the skill that `informative` rests on is
measured on programs not yet seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

from agentrt_engine.errors import SettingError
from agentrt_engine.policy.additive import MAX_KNOTS, AdditiveRegression
from agentrt_engine.policy.progress import FEATURES, Progress, first_turn
from agentrt_engine.policy.running_mean import Mean, load_mean
from agentrt_engine.policy.skill import Skill

#: Turns ended from which a stage begins; the last has no end.
STAGES = (0, 1, 3, 8, 20)
#: Turn counts at which an ended program teaches: dense at first, then each a third further.
LESSONS = frozenset(
    (0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 85, 113, 150, 200, 267, 356, 475, 633, 844)
)
RIDGE = 10.0
MIN_WORK_S = 1e-3
MAX_AGENTS = 1024
MAX_TOOLS = 4096
MAX_PROGRAMS = 16_384
MIN_SKILL = 0.2

SNAPSHOT_VERSION = 1


@dataclass(slots=True, frozen=True)
class Estimate:
    """Expected remaining work of a program.

    Attributes:
        seconds: of engine time, the turn that waits or runs included; a typical value (the
            mean is taken of the logarithm), not an expectation.
        informative: estimates of recent programs were right often enough to order programs by.
    """

    seconds: float
    informative: bool


@dataclass(slots=True, frozen=True)
class Lesson:
    """What was seen of a program at one point, kept until it ends."""

    stage: int
    tool: str
    work_s: float
    features: list[float]


class RemainingWork:
    """Estimates the remaining work of running programs from those that have ended.

    What it says of a program that was not `started`, or was forgotten (the oldest beyond
    16,384), is what it says of a new one.

    Args:
        prefill_s: seconds of engine time per new prompt token.
        decode_s: per output token.
        max_knots: of each function of the regression; 2 makes them linear.
    """

    __slots__ = (
        "_agents",
        "_decode_s",
        "_estimates",
        "_informative",
        "_lessons",
        "_prefill_s",
        "_programs",
        "_regressions",
        "_skill",
        "_stages",
        "_tools",
    )

    def __init__(self, prefill_s: float, decode_s: float, max_knots: int = MAX_KNOTS) -> None:
        self._prefill_s: float = prefill_s
        self._decode_s: float = decode_s
        self._programs: dict[str, Progress] = {}
        self._lessons: dict[str, list[Lesson]] = {}
        self._estimates: dict[str, float] = {}
        self._stages: list[Mean] = [Mean() for _ in STAGES]
        self._agents: dict[str, list[Mean]] = {}
        self._tools: dict[str, Mean] = {}
        self._regressions: list[AdditiveRegression] = [
            AdditiveRegression(FEATURES, RIDGE, max_knots) for _ in STAGES
        ]
        self._skill: Skill = Skill()
        self._informative: bool = False

    def reprice(self, prefill_s: float, decode_s: float) -> None:
        """From now on tokens cost this; what was learned stays, and is forgotten slowly."""
        self._prefill_s, self._decode_s = prefill_s, decode_s

    def started(
        self, program: str, agent: str, prompt_tokens: int, max_turns: int | None = None
    ) -> None:
        """The first turn of a program has come."""
        self.dropped(program)
        if len(self._programs) >= MAX_PROGRAMS:
            self.dropped(next(iter(self._programs)))
        self._programs[program] = first_turn(agent, prompt_tokens, max_turns)
        self._lessons[program] = []
        self._note(program)

    def turn_ended(
        self, program: str, *, prompt_tokens: int, new_tokens: int, output_tokens: int
    ) -> None:
        """A turn was generated; `new_tokens` of its prompt were not in the turn before."""
        progress = self._programs.get(program)
        if progress is not None:
            work_s = self._prefill_s * new_tokens + self._decode_s * output_tokens
            progress.turn_ended(prompt_tokens, output_tokens, work_s)
            self._estimates.pop(program, None)

    def pause_ended(
        self, program: str, *, pause_s: float, prompt_tokens: int, tool: str | None = None
    ) -> None:
        """The next turn has come, with this prompt, after the program waited for `tool`."""
        progress = self._programs.get(program)
        if progress is not None:
            progress.pause_ended(pause_s, prompt_tokens, tool or "")
            self._estimates.pop(program, None)
            if progress.turns in LESSONS:
                self._note(program)

    def ended(self, program: str) -> None:
        """A program has run to its end; it is learned from."""
        progress = self._programs.get(program)
        if progress is None:
            return
        agent = progress.agent
        rows = [
            (lesson, log(max(progress.work_s - lesson.work_s, MIN_WORK_S)))
            for lesson in self._lessons[program]
        ]
        self._skill.add(
            [(self._predict(agent, each.stage, each.features), actual) for each, actual in rows]
        )
        self._informative = self._skill.lower() >= MIN_SKILL
        for lesson, actual in rows:
            self._learn(agent, lesson, actual)
        self.dropped(program)

    def dropped(self, program: str) -> None:
        """A program was cut off; nothing is learned, what it would have done is not known."""
        if self._programs.pop(program, None) is not None:
            del self._lessons[program]
            self._estimates.pop(program, None)

    def estimate(self, program: str) -> Estimate:
        """What is left of a program; computed once per turn and pause."""
        seconds = self._estimates.get(program)
        if seconds is None:
            progress = self._programs.get(program)
            if progress is None:
                return Estimate(exp(self._base("", 0)), False)
            features = progress.features(self._tool_effect(progress.tool))
            seconds = exp(self._predict(progress.agent, stage_of(progress.turns), features))
            self._estimates[program] = seconds
        return Estimate(seconds, self._informative)

    @property
    def skill(self) -> float:
        """Pearson's r of ln(estimate) and ln(actual) over recent programs, before learning."""
        return self._skill.correlation()

    def snapshot(self) -> dict[str, Any]:
        """Everything learned from ended programs, as JSON-able data for `restore`."""
        return {
            "version": SNAPSHOT_VERSION,
            "stages": [[mean.count, mean.total] for mean in self._stages],
            "agents": {
                agent: [[mean.count, mean.total] for mean in means]
                for agent, means in self._agents.items()
            },
            "tools": {tool: [mean.count, mean.total] for tool, mean in self._tools.items()},
            "regressions": [each.snapshot() for each in self._regressions],
            "skill": self._skill.sums,
        }

    @classmethod
    def restore(
        cls, data: Mapping[str, Any], *, prefill_s: float, decode_s: float
    ) -> RemainingWork:
        """What a `snapshot` had learned, without the programs that ran then.

        Raises:
            SettingError: not a snapshot of this version, or damaged.
        """
        restored = cls(prefill_s, decode_s)
        try:
            if data["version"] != SNAPSHOT_VERSION:
                raise ValueError(f"version {data['version']!r}, expected {SNAPSHOT_VERSION}")
            restored._stages = load_stages(data["stages"])
            for agent in list(data["agents"])[-MAX_AGENTS:]:
                restored._agents[str(agent)] = load_stages(data["agents"][agent])
            for tool in list(data["tools"])[-MAX_TOOLS:]:
                restored._tools[str(tool)] = load_mean(data["tools"][tool])
            for each, saved in zip(restored._regressions, data["regressions"], strict=True):
                each.load(saved)
            restored._skill.load(data["skill"])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise SettingError(
                f"saved estimates of remaining work are unusable: {error!r}",
                hint="delete the saved statistics; they are learned again from programs that end",
            ) from error
        restored._informative = restored._skill.lower() >= MIN_SKILL
        return restored

    def _note(self, program: str) -> None:
        progress = self._programs[program]
        features = progress.features(self._tool_effect(progress.tool))
        lesson = Lesson(stage_of(progress.turns), progress.tool, progress.work_s, features)
        self._lessons[program].append(lesson)

    def _base(self, agent: str, stage: int) -> float:
        prior = self._stages[stage].shrunk(0.0)
        means = self._agents.get(agent)
        return prior if means is None else means[stage].shrunk(prior)

    def _tool_effect(self, tool: str) -> float:
        mean = self._tools.get(tool)
        return 0.0 if mean is None else mean.shrunk(0.0)

    def _predict(self, agent: str, stage: int, features: list[float]) -> float:
        return self._base(agent, stage) + self._regressions[stage].predict(features)

    def _learn(self, agent: str, lesson: Lesson, actual: float) -> None:
        stage = lesson.stage
        residual = actual - self._base(agent, stage)
        self._regressions[stage].learn(lesson.features, residual)
        self._stages[stage].add(actual)
        means = self._agents.pop(agent, None) or [Mean() for _ in STAGES]
        if len(self._agents) >= MAX_AGENTS:
            del self._agents[next(iter(self._agents))]
        self._agents[agent] = means
        means[stage].add(actual)
        effect = self._tools.pop(lesson.tool, None) or Mean()
        if len(self._tools) >= MAX_TOOLS:
            del self._tools[next(iter(self._tools))]
        self._tools[lesson.tool] = effect
        effect.add(residual)


def stage_of(turns: int) -> int:
    """The stage of a program after that many turns."""
    stage = len(STAGES) - 1
    while turns < STAGES[stage]:
        stage -= 1
    return stage


def load_stages(data: list[list[object]]) -> list[Mean]:
    """The means of a snapshot, one per stage."""
    means = [load_mean(each) for each in data]
    if len(means) != len(STAGES):
        raise ValueError(f"{len(means)} stages, expected {len(STAGES)}")
    return means
