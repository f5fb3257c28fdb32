"""A sign of life that a tool gives while it works."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import anyio
import anyio.from_thread
import anyio.lowlevel

_current: ContextVar[Heartbeat] = ContextVar("agentrt_heartbeat")


class Heartbeat:
    """Ends an attempt that has been silent for too long.

    Args:
        timeout: seconds without a beat, or None for no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = math.inf if timeout is None else timeout
        self._scope = anyio.CancelScope()
        self._thread = threading.get_ident()
        self._token = anyio.lowlevel.current_token()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Around the attempt, whose code finds this heart by `beat()`."""
        self._extend()
        token = _current.set(self)
        try:
            with self._scope:
                yield
        finally:
            _current.reset(token)

    def beat(self) -> None:
        """Another `timeout` seconds from now; from the event loop or any thread of the tool."""
        if threading.get_ident() == self._thread:
            self._extend()
            return
        # The tool was left behind, and the event loop has ended.
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(self._extend, token=self._token)

    def _extend(self) -> None:
        self._scope.deadline = anyio.current_time() + self._timeout


def beat() -> None:
    """The tool call that this runs in is alive.

    Raises:
        RuntimeError: this runs in no tool call.
    """
    heart = _current.get(None)
    if heart is None:
        raise RuntimeError("a heartbeat is given inside of a tool call")
    heart.beat()
