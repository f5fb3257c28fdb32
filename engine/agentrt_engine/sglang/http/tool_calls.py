"""Finds tool calls in responses that pass by.

Three APIs, each as one JSON body or as server-sent events. Most of what passes holds no tool
call, so a search for one short text comes before any decoding.
"""

from __future__ import annotations

import msgspec

from agentrt_engine.wire.identity import is_name

#: Text without which a response of that route holds no tool call.
MARKERS = {
    "/v1/chat/completions": b'"function"',
    "/v1/messages": b'"tool_use"',
    "/v1/responses": b'"function_call"',
}

#: Most bytes of an unfinished line or body that are kept, and tool calls of one response.
MAX_KEPT = 4 << 20
MAX_CALLS = 64

_DATA = b"data:"


class _Function(msgspec.Struct):
    name: str | None = None


class _ToolCall(msgspec.Struct):
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Message(msgspec.Struct):
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None


class _Block(msgspec.Struct):
    """A block of Anthropic's or an item of the Responses API."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None


class _Response(msgspec.Struct):
    """A whole response or one event of any of the APIs."""

    choices: list[_Choice] = msgspec.field(default_factory=list)
    content: list[_Block] = msgspec.field(default_factory=list)
    content_block: _Block | None = None
    output: list[_Block] = msgspec.field(default_factory=list)
    item: _Block | None = None


class ToolCalls:
    """The tool calls of one response, fed chunk by chunk.

    Args:
        marker: from `MARKERS`.
        streamed: the response consists of server-sent events.
    """

    def __init__(self, marker: bytes, *, streamed: bool) -> None:
        self._marker = marker
        self._streamed = streamed
        self._kept = b""
        self._found: dict[str, str] = {}

    def feed(self, chunk: bytes) -> None:
        """See the next bytes."""
        if self._streamed and not self._kept and chunk.endswith(b"\n"):
            self._read_events(chunk)
            return
        self._kept += chunk
        if len(self._kept) > MAX_KEPT:
            self._kept = b""
        if self._streamed:
            whole, newline, rest = self._kept.rpartition(b"\n")
            if newline:
                self._kept = rest
                self._read_events(whole)

    def finish(self) -> dict[str, str]:
        """The calls of the whole response: id → name of the tool."""
        if self._streamed:
            self._read_events(self._kept)
        elif self._marker in self._kept:
            self._read(self._kept)
        return self._found

    def _read_events(self, chunk: bytes) -> None:
        if self._marker not in chunk:
            return
        for line in chunk.split(b"\n"):
            if line.startswith(_DATA) and self._marker in line:
                self._read(line[len(_DATA) :])

    def _read(self, document: bytes) -> None:
        try:
            response = msgspec.json.decode(document, type=_Response)
        except (ValueError, RecursionError):  # not what it looked like
            return
        for choice in response.choices:
            for message in (choice.message, choice.delta):
                for call in (message.tool_calls or []) if message is not None else []:
                    self._add(call.id, call.function.name)
        blocks = [*response.content, *response.output, response.content_block, response.item]
        for block in blocks:
            if block is not None and block.type in ("tool_use", "function_call"):
                self._add(block.call_id or block.id, block.name)

    def _add(self, call_id: str | None, name: str | None) -> None:
        """Later pieces of a call carry no name; later events repeat it."""
        if name and is_name(name) and len(self._found) < MAX_CALLS:
            known = call_id if call_id and is_name(call_id) else str(len(self._found))
            self._found.setdefault(known, name)
