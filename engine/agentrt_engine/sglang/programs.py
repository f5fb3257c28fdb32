"""The programs an engine has seen, in the order in which they first reached it."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

from agentrt_engine.policy import Program


class ProgramTable:
    """The programs an engine remembers.

    Positions come from a counter, not from a clock, so every tensor-parallel rank, which
    sees the same requests in the same order, gives the same ones.

    Args:
        capacity: programs remembered; beyond it the one seen longest ago is forgotten and
            would count as new.
    """

    def __init__(self, capacity: int = 65_536) -> None:
        self._capacity = capacity
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._next = count()

    def __len__(self) -> int:
        return len(self._programs)

    def program(self, program_id: str, now: float) -> Program:
        """The program; a new one gets the next position and arrives `now`, seconds."""
        program = self._programs.get(program_id)
        if program is None:
            program = self._programs[program_id] = Program(program_id, next(self._next), now)
            if len(self._programs) > self._capacity:
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(program_id)
        return program

    def anonymous(self, request_id: str, now: float) -> Program:
        """A request of no known program as a program of its own."""
        return Program(request_id, next(self._next), now)

    def forget(self, program_id: str) -> None:
        """The program ended."""
        self._programs.pop(program_id, None)
