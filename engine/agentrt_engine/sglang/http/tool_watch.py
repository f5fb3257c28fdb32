"""Tells the scheduler which tools a program now waits for, when the client does not.

What passes is neither changed nor held back. The end of a tool shows in the program's next
request.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.identity import current_identity
from agentrt_engine.sglang.http.scope import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    headers_of,
    path_of,
)
from agentrt_engine.sglang.http.tool_calls import MARKERS, ToolCalls
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import HINTS_EXPLICIT, HINTS_HEADER, Hint, HintKind
from agentrt_engine.wire.identity import ProgramTag
from agentrt_engine.wire.question import Question

#: Programs that are remembered to send hints of their own.
MAX_HINTING = 10_000

_TOOL_HINTS = (HintKind.TOOL_STARTED, HintKind.TOOL_FINISHED, HintKind.TOOL_PROGRESS)


class HintingPrograms:
    """The programs whose clients tell of their tools themselves.

    Args:
        capacity: beyond it the one heard from longest ago is forgotten.
    """

    def __init__(self, capacity: int = MAX_HINTING) -> None:
        self._capacity = capacity
        self._programs: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._programs)

    def __contains__(self, program: tuple[str, str]) -> bool:
        return program in self._programs

    def note(self, owner: str, hint: Hint) -> None:
        """A client sent a hint."""
        program = (owner, hint.program_id)
        if hint.kind is HintKind.ENDED:
            self._programs.pop(program, None)
        elif hint.kind in _TOOL_HINTS:
            self._programs[program] = None
            self._programs.move_to_end(program)
            if len(self._programs) > self._capacity:
                self._programs.popitem(last=False)


class ToolWatchMiddleware:
    """Watches responses for tool calls."""

    def __init__(self, app: App, channel: SchedulerChannel, hinting: HintingPrograms) -> None:
        self._app = app
        self._channel = channel
        self._hinting = hinting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        marker = MARKERS.get(path_of(scope)) if scope["type"] == "http" else None
        if marker is None or headers_of(scope).get(HINTS_HEADER.lower()) == HINTS_EXPLICIT:
            await self._app(scope, receive, send)
            return
        calls: ToolCalls | None = None

        async def watch(message: Message) -> None:
            nonlocal calls
            if message["type"] == "http.response.start" and message["status"] == 200:
                calls = ToolCalls(marker, streamed=_is_stream(message))
            elif message["type"] == "http.response.body" and calls is not None:
                calls.feed(message.get("body", b""))
                if not message.get("more_body", False):
                    # Before the client has the end, so that its next request comes after this.
                    await self._tell(calls.finish())
            await send(message)

        await self._app(scope, receive, watch)

    async def _tell(self, calls: dict[str, str]) -> None:
        identity = current_identity()
        tag = identity.tag if identity is not None else ProgramTag()
        if not calls or not tag.program_id or tag.final:
            return
        if (tag.owner, tag.program_id) in self._hinting:
            return
        hints = [
            OwnedHint(tag.owner, Hint(tag.program_id, HintKind.TOOL_STARTED, name, call_id=call_id))
            for call_id, name in calls.items()
        ]
        await self._channel.tell(Question.HINTS, msgspec.json.encode(hints))


def _is_stream(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start.get("headers", ())}
    content_type: bytes = headers.get(b"content-type", b"")
    return content_type.startswith(b"text/event-stream")
