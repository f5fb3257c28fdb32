"""Ctrl-C and SIGTERM as cancellation."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

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

    The second one ends the process at once, as if there were no handler; an engine that the
    process owns goes with it.
    """
    interruption = Interruption()
    async with anyio.create_task_group() as tasks:

        async def watch(*, task_status: TaskStatus[None]) -> None:
            with anyio.open_signal_receiver(*_SIGNALS) as received:
                task_status.started()
                async for number in received:
                    interruption.signal = number
                    break
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            tasks.cancel_scope.cancel()

        await tasks.start(watch)
        yield interruption
        tasks.cancel_scope.cancel()
