"""`guard-srpt`: `guard` with the program that has the least work left first.

    key = remaining + aging·arrival

remaining: engine seconds of work, as the client hinted; else from `max_turns` and what its turns
took so far; else as learned from finished programs, where that has proved to tell more than
nothing (`RemainingWork`); else the mean. Aging lets a program with much work go ahead of programs
that arrived enough later; without it the 95th percentile suffers. Source: shortest remaining
processing time; the estimate is evaluated in docs/benchmarks.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.program import Program
from agentrt_engine.policy.protocol import Costs, EngineView
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
        self._keys: dict[Program, float] = {}
        self._order: list[tuple[float, int, Program]] = []
        self._work: dict[Program, float] = {}
        self._mean_work = 0.0

    def attach(self, costs: Costs) -> None:
        super().attach(costs)
        self._costs = costs
        self._remaining = RemainingWork(costs.prefill_s, costs.fixed_s)

    def key(self, program: Program) -> float:
        return self._keys[program]

    def by_key(self, engine: EngineView) -> Iterable[Program]:
        return (program for _key, _arrival, program in self._order)

    def program_started(self, now: float, program: Program) -> None:
        super().program_started(now, program)
        self._work[program] = 0.0
        self._remaining.started(
            program.program_id, program.agent, program.prompt_tokens, program.max_turns
        )
        self._set_key(program)

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
            pause_s=now - program.paused_s,
            prompt_tokens=program.prompt_tokens,
            tool=program.tool,
        )
        self._drop_key(program)
        self._set_key(program)

    def program_ended(self, now: float, program: Program) -> None:
        super().program_ended(now, program)
        self._remaining.ended(program.program_id)
        work = self._work.pop(program)
        self._mean_work += (WEIGHT if self._mean_work else 1.0) * (work - self._mean_work)
        self._drop_key(program)

    def _set_key(self, program: Program) -> None:
        if program.parent is not None:
            key = self._keys[program.root]
        else:
            key = self._left(program) + self._aging * program.arrival_s
        self._keys[program] = key
        insort(self._order, (key, program.arrival, program))

    def _drop_key(self, program: Program) -> None:
        entry = (self._keys.pop(program), program.arrival)
        del self._order[bisect_left(self._order, entry)]

    def _left(self, program: Program) -> float:
        """Engine seconds of work left."""
        if program.remaining_s is not None:
            return program.remaining_s
        if program.max_turns is not None and program.turns:
            per_turn = self._work[program] / program.turns
            return per_turn * max(1, program.max_turns - program.turns)
        estimate = self._remaining.estimate(program.program_id)
        return estimate.seconds if estimate.informative else self._mean_work
