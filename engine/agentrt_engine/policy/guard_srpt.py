"""`guard-srpt`: `guard` with the program that has the least work left first.

    key = remaining + aging·arrival − 2^32·priority

remaining: engine seconds of work, as the client hinted; else from `max_turns` and what its turns
took so far; else as learned from finished programs, where that has proved to tell more than
nothing (`RemainingWork`); else the mean. Aging lets a program with much work go ahead of programs
that arrived enough later; without it the 95th percentile suffers. Source: shortest remaining
processing time; the estimate is evaluated in docs/benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.learned import field, positive
from agentrt_engine.policy.program import PRIORITY_STEP, Program
from agentrt_engine.policy.protocol import Costs
from agentrt_engine.policy.remaining import RemainingWork

#: Weight of a finished program in the mean work.
WEIGHT = 0.02


class GuardSrpt(Guard):
    """Shortest remaining work first.

    Args:
        aging: seconds of work that a second of earlier arrival is worth.
        headroom, newcomer, price, gate: as `guard`.
    """

    name = "guard-srpt"

    def __init__(
        self,
        aging: float = 0.1,
        headroom: float = 0.01,
        newcomer: float = 0.05,
        price: float = 1.0,
        gate: bool = True,
    ) -> None:
        super().__init__(headroom, newcomer, price, gate)
        if aging < 0:
            raise ValueError(f"aging={aging}: expected at least 0")
        self._aging = aging
        self._costs = Costs(0.0, 0.0, 0.0, 0.0)
        self._remaining = RemainingWork(0.0, 0.0)
        self._work: dict[Program, float] = {}
        self._mean_work = 0.0

    def attach(self, costs: Costs) -> None:
        super().attach(costs)
        self._costs = costs
        self._remaining.reprice(costs.prefill_s, costs.fixed_s)

    def new_key(self, program: Program) -> float:
        if program.parent is not None:
            return self.key(program.root)
        aged = self._left(program) + self._aging * program.arrival_s
        return aged - program.priority * PRIORITY_STEP

    def program_started(self, now: float, program: Program) -> None:
        self._work[program] = 0.0
        self._remaining.started(
            program.program_id, program.agent, program.prompt_tokens, program.max_turns
        )
        super().program_started(now, program)

    def turn_ended(self, now: float, program: Program) -> None:
        super().turn_ended(now, program)
        new = max(0, program.prompt_tokens - program.previous_tokens)
        self._work[program] += (
            new * self._costs.prefill_s + program.output_tokens * self._costs.fixed_s
        )
        self._remaining.turn_ended(
            program.program_id,
            prompt_tokens=program.prompt_tokens,
            new_tokens=new,
            output_tokens=program.output_tokens,
        )

    def pause_ended(self, now: float, program: Program) -> None:
        super().pause_ended(now, program)
        self._remaining.pause_ended(
            program.program_id,
            pause_s=program.paused_for(now),
            prompt_tokens=program.prompt_tokens,
            tool=program.tool,
        )
        self._demand.enter(program, self.new_key(program))

    def program_ended(self, now: float, program: Program) -> None:
        super().program_ended(now, program)
        work = self._work.pop(program)
        if not program.turns:
            # It was called off; what it would have done is not known.
            self._remaining.dropped(program.program_id)
            return
        self._remaining.ended(program.program_id)
        self._mean_work += (WEIGHT if self._mean_work else 1.0) * (work - self._mean_work)

    def learned(self) -> dict[str, Any]:
        return {
            **super().learned(),
            "remaining": self._remaining.snapshot(),
            "mean_work_s": self._mean_work,
        }

    def recall(self, learned: Mapping[str, Any]) -> None:
        remaining = field(learned, "remaining", self._restored)
        mean_work = field(learned, "mean_work_s", positive)
        super().recall(learned)
        self._remaining, self._mean_work = remaining, mean_work

    def _restored(self, data: Mapping[str, Any]) -> RemainingWork:
        costs = self._costs
        return RemainingWork.restore(data, prefill_s=costs.prefill_s, decode_s=costs.fixed_s)

    def _left(self, program: Program) -> float:
        """Engine seconds of work left."""
        if program.remaining_s is not None:
            return program.remaining_s
        if program.max_turns is not None and program.turns:
            per_turn = self._work.get(program, 0.0) / program.turns
            return per_turn * max(1, program.max_turns - program.turns)
        estimate = self._remaining.estimate(program.program_id)
        return estimate.seconds if estimate.informative else self._mean_work
