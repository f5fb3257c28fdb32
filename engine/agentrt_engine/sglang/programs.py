"""The programs an engine has seen, in the order in which they first reached it."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count


class ProgramTable:
    """Arrival positions of programs.

    Positions come from a counter, not from a clock, so every tensor-parallel rank, which
    sees the same requests in the same order, gives the same ones.

    Args:
        capacity: programs remembered; beyond it the one seen longest ago is forgotten and
            would count as new.
    """

    def __init__(self, capacity: int = 65_536) -> None:
        self._capacity = capacity
        self._arrivals: OrderedDict[str, int] = OrderedDict()
        self._next = count()

    def __len__(self) -> int:
        return len(self._arrivals)

    def arrival(self, program_id: str) -> int:
        """The program's position; a new program gets the next one."""
        position = self._arrivals.get(program_id)
        if position is None:
            position = self._arrivals[program_id] = next(self._next)
            if len(self._arrivals) > self._capacity:
                self._arrivals.popitem(last=False)
        else:
            self._arrivals.move_to_end(program_id)
        return position

    def anonymous_arrival(self) -> int:
        """A position for a request of no known program."""
        return next(self._next)

    def forget(self, program_id: str) -> None:
        """The program ended."""
        self._arrivals.pop(program_id, None)
