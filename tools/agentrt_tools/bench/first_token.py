"""Time to first token of a program's turns, from its events."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from agentrt import Running, TextDelta, TurnBegan


class FirstTokens:
    """Follows a program while it runs.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: list[float] = []

    async def follow(self, running: Running[Any]) -> None:
        """Read its events to its end."""
        began: float | None = None
        async for event in running.events():
            if isinstance(event, TurnBegan):
                began = self._clock()
            elif isinstance(event, TextDelta) and began is not None:
                self._seconds.append(self._clock() - began)
                began = None

    @property
    def mean_s(self) -> float | None:
        """Mean over the turns; None where there were none."""
        return fmean(self._seconds) if self._seconds else None
