"""What Continuum and its relatives have in common: pins with a TTL, and an order that knows them.

Order: preempted turns first, then programs with a live pin, then the earliest program. A pin is
consumed by the program's next turn; it expires only while the program has nothing waiting.
Source: Continuum (arXiv 2511.02230), section 4.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection
from enum import StrEnum

from agentrt_engine.policy.base import BasePolicy, least_recently_used, others_run, take
from agentrt_engine.policy.program import Context, Lease, Program, Turn
from agentrt_engine.policy.protocol import EngineView, Rank, Victim


class Reading(StrEnum):
    """When a blocked head of the queue may break pins; the paper can be read either way."""

    #: Only when nothing runs.
    STRICT = "strict"
    #: Whenever the head is blocked.
    PRESSURE = "pressure"


class Pinning(BasePolicy):
    """Pins of paused programs; a subclass says for how long.

    Args:
        reading: when pins yield to a blocked head: those of the latest program first.
    """

    ranks_are_fixed = False

    def __init__(self, reading: Reading = Reading.STRICT) -> None:
        self._reading = reading
        self._pins: dict[Program, float] = {}

    @abstractmethod
    def pin_s(self, program: Program, engine: EngineView) -> float:
        """For how long the program that pauses now is pinned; 0 for not at all."""

    def rank(self, now: float, turn: Turn) -> Rank:
        pinned = self._pins.get(turn.program, -math.inf) > now
        return (not turn.preempted, not pinned, turn.program.seniority)

    def lease(self, now: float, program: Program, engine: EngineView) -> Lease | None:
        seconds = self.pin_s(program, engine)
        if seconds <= 0:
            return None
        self._pins[program] = now + seconds
        return Lease(now + seconds, {"ttl_s": seconds})

    def reclaim(
        self,
        now: float,
        turn: Turn,
        need: int,
        idle: Collection[Context],
        engine: EngineView,
        *,
        backfill: bool,
    ) -> list[Victim] | None:
        order = least_recently_used(idle)
        unpinned = [context for context in order if not self._pinned(now, context)]
        yielded = self.take(now, unpinned, need)
        missing = need - sum(victim.tokens for victim in yielded)
        if missing <= 0:
            return yielded
        if self._reading is Reading.STRICT and others_run(turn, engine):
            return yielded
        alone = not others_run(turn, engine)
        pinned = [
            context
            for context in order
            if self._pinned(now, context)
            and (alone or _seniority(context) > turn.program.seniority)
        ]
        pinned.sort(key=_seniority, reverse=True)
        broken = take(pinned, missing)
        # "Until it fits": they stay broken, whether it fits in the end or not.
        for victim in broken:
            for program in _users(victim.context):
                self._pins.pop(program, None)
        return yielded + broken

    def take(self, now: float, contexts: Collection[Context], need: int) -> list[Victim]:
        """Which of the contexts without a pin yield, the one idle for longest first."""
        return take(contexts, need)

    def pause_ended(self, now: float, program: Program) -> None:
        if self._pins.get(program, -math.inf) > now:
            self._pins[program] = math.inf
        else:
            self._pins.pop(program, None)

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        self._pins.pop(turn.program, None)

    def program_ended(self, now: float, program: Program) -> None:
        self._pins.pop(program, None)

    def _pinned(self, now: float, context: Context) -> bool:
        return any(self._pins.get(program, -math.inf) > now for program in _users(context))


def _users(context: Context) -> Collection[Program]:
    return context.users if context.program is None else (context.program,)


def _seniority(context: Context) -> float:
    """That of the first of its programs."""
    return min((program.seniority for program in _users(context)), default=-math.inf)
