"""When programs arrive: at given times, or one whenever another ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.workload import ProgramPlan


class Arrivals(Protocol):
    """Gives an engine its programs.

    Attributes:
        total: programs in all, children not counted.
        closed: whether a program arrives because another ended.
    """

    total: int
    closed: bool

    def first(self) -> list[tuple[ProgramPlan, int]]:
        """The programs that arrive whatever happens, and their virtual times."""

    def after_end(self) -> ProgramPlan | None:
        """The program that arrives because one has just ended."""


class OpenLoop:
    """Programs arrive at given times, however many there are already.

    Args:
        arrival_s: one time per plan, from the start of the run.
    """

    def __init__(self, plans: Sequence[ProgramPlan], arrival_s: Sequence[float]) -> None:
        self.total = len(plans)
        self.closed = False
        self._first = [(plan, ticks(at)) for plan, at in zip(plans, arrival_s, strict=True)]

    def first(self) -> list[tuple[ProgramPlan, int]]:
        return self._first

    def after_end(self) -> ProgramPlan | None:
        return None


class ClosedLoop:
    """A fixed number of programs is active; the next one arrives when one ends."""

    def __init__(self, plans: Sequence[ProgramPlan], concurrency: int) -> None:
        self.total = len(plans)
        self.closed = True
        self._first = [(plan, 0) for plan in plans[:concurrency]]
        self._rest = list(reversed(plans[concurrency:]))

    def first(self) -> list[tuple[ProgramPlan, int]]:
        return self._first

    def after_end(self) -> ProgramPlan | None:
        return self._rest.pop() if self._rest else None
