"""An event loop whose time only passes while everybody waits, and then at once.

Sleeps of minutes take no time and end exactly when they should. What is real gets real time: while
a thread, a child process or a socket is waited for, the clock goes no faster than it really would.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from functools import partial, wraps
from typing import Any, TypeVar, TypeVarTuple
from unittest import mock

import anyio
import anyio.to_thread

from agentrt import abandonable

Result = TypeVar("Result")
Args = TypeVarTuple("Args")


class Deadlock(AssertionError):
    """Everybody waits, and nobody will ever go on."""


class ManualClock:
    """Seconds that pass when a test says so: `connect(clock=ManualClock())`.

    As the clock of `in_virtual_time` it goes on by itself, too, while everybody waits.

    Args:
        start: what it shows at first, seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """Seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: time would go back.
        """
        if not seconds >= 0:
            raise ValueError(f"a clock cannot go on by {seconds} s; expected 0 s or more")
        self._now += seconds


def in_virtual_time(
    function: Callable[[*Args], Awaitable[Result]], *args: *Args, clock: ManualClock | None = None
) -> Result:
    """Run an async function; it and what it calls live in virtual time.

    Args:
        clock: of the event loop; by default one that begins at zero.

    Raises:
        Deadlock: everybody waits for something that will never come.
    """

    async def inside() -> Result:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _VirtualTimeLoop)
        with _counting_threads(loop.in_threads):
            return await function(*args)

    factory = partial(_VirtualTimeLoop, clock or ManualClock())
    return anyio.run(inside, backend_options={"loop_factory": factory})


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Knows what works outside of it.

    Attributes:
        in_threads: the calls in worker threads of anyio and of executors.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.in_threads: set[object] = set()
        self._children: list[asyncio.SubprocessTransport] = []
        self._clock = clock
        super().__init__(_Jumping(self, clock))
        # How much too early a timer may fire. More than the rounding of a clock that shows years:
        # with less a timer that is due would never fire.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._clock()

    def is_working(self) -> bool:
        """Whether a thread or a child process will report to the loop."""
        self._children = [child for child in self._children if child.get_returncode() is None]
        return bool(self.in_threads or self._children or abandonable.working())

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if math.isinf(when):
            # What never comes is nothing to wait for: asyncio would look after it once a day.
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Args], Result], *args: *Args
    ) -> asyncio.Future[Result]:
        future = super().run_in_executor(executor, func, *args)
        self.in_threads.add(future)
        future.add_done_callback(self.in_threads.discard)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        with _counted(self.in_threads):
            await super().shutdown_default_executor(*args)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        transport, protocol = await super().subprocess_exec(*args, **kwargs)
        self._children.append(transport)
        return transport, protocol

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        transport, protocol = await super().subprocess_shell(*args, **kwargs)
        self._children.append(transport)
        return transport, protocol


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting, moves the clock."""

    def __init__(self, loop: _VirtualTimeLoop, clock: ManualClock) -> None:
        super().__init__()
        self._loop = loop
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        # One file is always watched: that by which threads wake the loop.
        if self._loop.is_working() or len(self.get_map()) > 1:
            ready = super().select(timeout)
        elif timeout is None:
            tasks = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(self._loop)))
            raise Deadlock(f"everybody waits and nobody will ever go on: {tasks}")
        if not ready and timeout is not None:
            self._clock.advance(max(0.0, timeout))
        return ready


@contextmanager
def _counting_threads(in_threads: set[object]) -> Iterator[None]:
    original = anyio.to_thread.run_sync

    @wraps(original)
    async def run_sync(*args: Any, **kwargs: Any) -> Any:
        with _counted(in_threads):
            return await original(*args, **kwargs)

    with mock.patch.object(anyio.to_thread, "run_sync", run_sync):
        yield


@contextmanager
def _counted(in_threads: set[object]) -> Iterator[None]:
    this = object()
    in_threads.add(this)
    try:
        yield
    finally:
        in_threads.discard(this)
