"""`static-cap`: program FCFS with at most so many programs active: what an operator does today.

A program is active from its first admission to its end.
"""

from __future__ import annotations

from agentrt_engine.policy.program import Program, Turn
from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import EngineView, Gate


class StaticCap(ProgramFcfs):
    """A fixed number of active programs.

    Args:
        programs: active at most.
    """

    name = "static-cap"
    order_only = False

    def __init__(self, programs: int = 8) -> None:
        if programs < 1:
            raise ValueError(f"programs={programs}: expected at least 1")
        self._most = programs
        self._active: set[Program] = set()

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        if turn.program in self._active or len(self._active) < self._most:
            return Gate.OPEN
        # Or a program would wait for its children and they for it.
        if any(turn.program in program.children for program in self._active):
            return Gate.OPEN
        return Gate.LATER

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        self._active.add(turn.program)

    def program_ended(self, now: float, program: Program) -> None:
        self._active.discard(program)
