"""An event loop whose time only passes while everybody waits, and then at once.

Sleeps of minutes take no time and end exactly when they should. Nothing on it may wait for a
socket or a thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

Result = TypeVar("Result")


class _Clock:
    now = 0.0


class _Jumping(selectors.SelectSelector):
    """Instead of waiting, moves the clock."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everybody waits and nobody will ever go on")
            self._clock.now += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at time zero."""

    def __init__(self) -> None:
        self._virtual = _Clock()
        super().__init__(_Jumping(self._virtual))
        # How much too early a timer may fire.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now


def in_virtual_time(function: Callable[[], Awaitable[Result]]) -> Result:
    """Run an async function; it and what it calls see `VirtualTimeLoop`."""
    return anyio.run(function, backend_options={"loop_factory": VirtualTimeLoop})
