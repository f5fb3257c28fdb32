"""An event loop whose time only passes while everybody waits, and then at once.

Sleeps of minutes take no time and end exactly when they should. Threads that tools are run in get
real time: while one works the clock stands still, for two seconds at most.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar
from unittest import mock

import anyio
import anyio.to_thread

from agentrt import abandonable

Result = TypeVar("Result")

#: Real seconds that a thread gets before it counts as one that hangs.
THREAD_S = 2.0


class Deadlock(AssertionError):
    """Everybody waits, and nobody will ever go on."""


class _Clock:
    """What time it is, and the calls that run in worker threads of anyio."""

    def __init__(self) -> None:
        self.now = 0.0
        self.in_threads: set[object] = set()


class _Jumping(selectors.SelectSelector):
    """Instead of waiting, moves the clock."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock
        self._hanging: frozenset[object] = frozenset()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        working = abandonable.working() | self._clock.in_threads
        if working - self._hanging:
            ready = super().select(THREAD_S)
            if not ready:
                self._hanging = working
        if not ready:
            if timeout is None:
                raise Deadlock("everybody waits and nobody will ever go on")
            self._clock.now += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at time zero."""

    def __init__(self) -> None:
        self.virtual = _Clock()
        super().__init__(_Jumping(self.virtual))
        # How much too early a timer may fire.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.virtual.now


def in_virtual_time(function: Callable[[], Awaitable[Result]]) -> Result:
    """Run an async function; it and what it calls live in virtual time, from zero on.

    Nothing in it may wait for a socket or a process.

    Raises:
        Deadlock: everybody waits for something that will never come.
    """

    async def inside() -> Result:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with _counting_threads(loop.virtual):
            return await function()

    return anyio.run(inside, backend_options={"loop_factory": VirtualTimeLoop})


@contextmanager
def _counting_threads(clock: _Clock) -> Iterator[None]:
    original = anyio.to_thread.run_sync

    @wraps(original)
    async def run_sync(*args: Any, **kwargs: Any) -> Any:
        this = object()
        clock.in_threads.add(this)
        try:
            return await original(*args, **kwargs)
        finally:
            clock.in_threads.discard(this)

    with mock.patch.object(anyio.to_thread, "run_sync", run_sync):
        yield
