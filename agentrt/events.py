"""What happens to a program, told while it happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from agentrt.program import Program, ToolCall, Turn


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a program.

    Attributes:
        program: the one whose events are read, or one that it started.
    """

    program: Program


@dataclass(frozen=True, slots=True)
class ProgramBegan(Event):
    """A program was started by the one whose events are read, or by one of its children."""


@dataclass(frozen=True, slots=True)
class TurnBegan(Event):
    """A model request is sent; `program.turn` is its number."""


@dataclass(frozen=True, slots=True)
class TextDelta(Event):
    """The model generated some more of its reply.

    Attributes:
        text: of the reply, verbatim: of a turn with tools that is JSON.
        answer: of the text that answers, decoded; empty while the model writes anything else.
    """

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class TurnEnded(Event):
    """The model request was answered.

    Attributes:
        turn: its record; calls of tools are added as they end.
    """

    turn: Turn


@dataclass(frozen=True, slots=True)
class ToolBegan(Event):
    """A tool call begins.

    Attributes:
        call_id: the same when it ends.
        arguments: as the model or the agent wrote them, not checked yet.
    """

    call_id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolEnded(Event):
    """A tool call ended.

    Attributes:
        call: its record, `call.call_id` included.
    """

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ProgramEnded(Event):
    """The program is over: finished, failed or cancelled, as `program.state` says."""


class EventStream:
    """The events of a program and of those that it starts, in their order; `async for` over it.

    It ends after the `ProgramEnded` of that program. Nothing waits for a reader: one that falls
    behind finds the pieces of a reply joined to fewer, longer ones.

    Args:
        program: to listen to, from now on.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._unread: deque[Event] = deque()
        self._news = anyio.Event()
        self._over = program.state.ended

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._unread:
            if self._over:
                raise StopAsyncIteration
            await self._news.wait()
        return self._unread.popleft()

    def add(self, event: Event) -> None:
        """Something happened. Called by the program."""
        last = self._unread[-1] if self._unread else None
        if (
            isinstance(event, TextDelta)
            and isinstance(last, TextDelta)
            and last.program is event.program
        ):
            self._unread[-1] = replace(
                last, text=last.text + event.text, answer=last.answer + event.answer
            )
        else:
            self._unread.append(event)
        self._over = isinstance(event, ProgramEnded) and event.program is self._program
        self._news.set()
        self._news = anyio.Event()
