"""Sync functions in threads that can be left behind."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

T = TypeVar("T")


class _Outcome(Generic[T]):
    """What a call gave: a value or an exception."""

    __slots__ = ("error", "value")

    value: T
    error: BaseException | None


_awaited: set[object] = set()


def working() -> frozenset[object]:
    """Calls in threads that somebody waits for."""
    return frozenset(_awaited)


async def run_abandonable(function: Callable[[], T], *, name: str) -> T:
    """Run a sync function in a thread of its own; on cancellation leave it behind.

    anyio's worker threads are not used, because the interpreter waits for them when it exits:
    one function that hangs would keep the whole process alive. A daemon thread does not.

    Args:
        name: name of the thread, for debuggers.
    """
    outcome: _Outcome[T] = _Outcome()
    done = anyio.Event()
    token = anyio.lowlevel.current_token()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.value = context.run(function)
            outcome.error = None
        except BaseException as error:  # noqa: BLE001 - carried over to the awaiting task
            outcome.error = error
        # The event loop is gone when the function was abandoned and the program has ended.
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=work, name=name, daemon=True).start()
    _awaited.add(outcome)
    try:
        await done.wait()
    finally:
        _awaited.discard(outcome)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
