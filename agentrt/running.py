"""A program that runs beside the code that started it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import anyio

from agentrt.errors import ProgramCancelled
from agentrt.events import EventStream
from agentrt.program import Program

R_co = TypeVar("R_co", covariant=True)


class Running(Generic[R_co]):
    """A program that was started; `await` it for what its agent returns.

    A failure is raised where it is awaited, as often as that is. One that nobody looks at ends the
    program or the block that started this one.

    Attributes:
        program: the record of the run.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._seen = False
        self._error: Exception | None = None
        self._output: R_co

    def __await__(self) -> Generator[Any, Any, R_co]:
        """What the agent returned.

        Raises:
            Exception: what the agent raised.
            ProgramCancelled: it was cancelled.
        """
        return self._result().__await__()

    def events(self) -> EventStream:
        """What happens to the program and to those that it starts, from now on.

            async for event in running.events():
                ...

        The loop ends with the program. While somebody reads, replies are streamed.
        """
        return self.program.events()

    def cancel(self) -> None:
        """Stop it, with its tools and all that it started; its record keeps what was done."""
        self._scope.cancel()

    async def _result(self) -> R_co:
        await self._ended.wait()
        self._seen = True
        if self._error is not None:
            raise self._error
        return self._output

    async def follow(self, run: Callable[[], Awaitable[Any]]) -> None:
        """Run the program to its end. Called by the runtime; raises only cancellation."""
        try:
            with self._scope:
                self._output = await run()
            if self._scope.cancelled_caught:
                self._error, self._seen = _cancelled(self.program), True
        except Exception as error:  # noqa: BLE001 - kept for whoever awaits it
            self._error = error
        except BaseException:
            self._error, self._seen = _cancelled(self.program), True
            raise
        finally:
            self._ended.set()

    def unseen(self) -> Exception | None:
        """Its failure, if nobody has looked at it."""
        return None if self._seen else self._error


def _cancelled(program: Program) -> ProgramCancelled:
    return ProgramCancelled(f"{program.label} was cancelled", hint="its record keeps its turns")
