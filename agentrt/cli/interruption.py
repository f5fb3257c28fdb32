"""Ctrl-C and SIGTERM as cancellation."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import FrameType

import anyio

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Interruption:
    """Whether a block was interrupted, and by what.

    Attributes:
        signal: number of the signal, None while none came.
    """

    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a command that this signal ended; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal


@asynccontextmanager
async def cancelled_by_signals() -> AsyncIterator[Interruption]:
    """Cancel the block at the first Ctrl-C or SIGTERM, and leave it normally.

    The second one ends the process at once, as if there were no handler, also where the
    block keeps the event loop busy; an engine that the process owns goes with it.
    """
    interruption = Interruption()
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:

        def interrupt(number: int, _frame: FrameType | None) -> None:
            interruption.signal = number
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            loop.call_soon_threadsafe(scope.cancel)

        previous = {number: signal.signal(number, interrupt) for number in _SIGNALS}
        try:
            yield interruption
        finally:
            if interruption.signal is None:
                for number, handler in previous.items():
                    signal.signal(number, handler)
