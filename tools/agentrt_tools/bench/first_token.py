"""A program followed to its end, and the time to first token of its turns."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import anyio

from agentrt import Running, TextDelta, TurnBegan


async def followed(running: Running[Any], first: FirstTokens | None) -> Exception | None:
    """Wait for the end of a program; what it raised.

    Args:
        first: follows it, which has its replies streamed; None leaves that.
    """
    async with anyio.create_task_group() as group:
        if first is not None:
            group.start_soon(first.follow, running)
        try:
            await running
        except Exception as error:  # noqa: BLE001 - the caller's to judge, outside of this group
            return error
    return None


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
