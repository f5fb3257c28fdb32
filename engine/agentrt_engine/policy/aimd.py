"""`aimd`: the number of active programs rises slowly and falls by half, as a TCP window.

Once a second: +2 if less than 0.2 of the KV memory is in use by the batch; times a half if more
than `high` of it is in use and less than 0.2 of the returning turns find their context. Only the
earliest so many programs start turns. Source: CONCUR; re-implemented from its description (0.5
there; 0.8 does better).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

from agentrt_engine.policy.program import Program, Turn
from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import EngineView, Gate

INTERVAL_S = 1.0
LOW_USE = 0.2
LOW_HITS = 0.2
INCREASE = 2
DECREASE = 0.5
FIRST_WINDOW = 8

#: Weight of a returning turn in the mean of hits.
WEIGHT = 0.1


class Aimd(ProgramFcfs):
    """Additive increase, multiplicative decrease of active programs.

    Args:
        high: share of the memory in use above which a low hit rate shrinks the window.
    """

    name = "aimd"
    order_only = False
    recheck_s = INTERVAL_S

    def __init__(self, high: float = 0.5) -> None:
        if not 0 < high <= 1:
            raise ValueError(f"high={high}: expected a share above 0 and up to 1")
        self._high = high
        self._window = float(FIRST_WINDOW)
        self._hits = 1.0
        self._adjusted_s = 0.0
        self._last_active = 0.0
        self._prioritised = False

    def open_gate(self, now: float, engine: EngineView) -> None:
        if now - self._adjusted_s >= INTERVAL_S:
            self._adjusted_s = now
            use = sum(turn.prompt_tokens for turn in engine.running) / engine.capacity_tokens
            if use < LOW_USE:
                self._window += INCREASE
            elif use > self._high and self._hits < LOW_HITS:
                self._window = max(1.0, self._window * DECREASE)
        programs: Iterable[Program] = engine.programs.values()
        if self._prioritised:
            programs = sorted(programs, key=lambda program: program.seniority)
        active = list(islice(programs, int(self._window)))
        self._last_active = active[-1].seniority if active else -math.inf

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        if turn.program.seniority <= self._last_active:
            return Gate.OPEN
        return Gate.LATER if turn.preempted else Gate.CLOSED

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        if turn.program.turns:
            self._hits += WEIGHT * (cached - self._hits)

    def program_started(self, now: float, program: Program) -> None:
        self._prioritised = self._prioritised or program.priority != 0

    def hinted(self, now: float, program: Program) -> None:
        self._prioritised = self._prioritised or program.priority != 0
