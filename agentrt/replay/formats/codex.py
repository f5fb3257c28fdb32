"""Rollout files of Codex: JSON lines `{timestamp, type, payload}`.

A `token_count` event tells that a model request is done; its `last_token_usage` has the prompt,
cached tokens included, and the output, reasoning included. What the model wrote stands before or
after it, depending on the version. The request began with the user message or the result of a
call before.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import HINT, Count, PromptTokens, decode
from agentrt.replay.formats.observed import ObservedProgram, ObservedTurn, records
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt_engine.wire.trace import PauseKind, ToolRecord

_AGENT = "codex"
_TYPES = {"session_meta", "response_item", "event_msg", "turn_context"}


class _Usage(msgspec.Struct):
    input_tokens: Count
    output_tokens: Count
    cached_input_tokens: Count = 0


class _LastUsage(msgspec.Struct):
    input_tokens: PromptTokens
    output_tokens: Count
    cached_input_tokens: Count = 0


class _Info(msgspec.Struct):
    last_token_usage: _LastUsage | None = None
    total_token_usage: _Usage | None = None


class _Payload(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    role: str | None = None
    name: str | None = None
    call_id: str | None = None
    info: _Info | None = None


class _Line(msgspec.Struct):
    timestamp: datetime
    type: str
    payload: msgspec.Raw


_LINE = msgspec.json.Decoder(_Line)
_PAYLOAD = msgspec.json.Decoder(_Payload)


def looks_like_codex(opening: Opening) -> bool:
    """Typed lines with a payload."""
    return {"timestamp", "type", "payload"} <= opening.first.keys() and opening.text(
        "type"
    ) in _TYPES


def read_codex(source: TraceSource) -> TraceContents:
    """The file is one program."""
    reader = _RolloutReader(source.path.stem)
    for number, raw in source.lines():
        place = source.place(number)
        line = decode(_LINE, raw, place)
        if line.type in ("session_meta", "response_item", "event_msg"):
            payload = decode(_PAYLOAD, line.payload, f"{place}, payload")
            reader.read(line.type, payload, line.timestamp.timestamp())
    if not reader.program.turns:
        raise TraceError(
            f"{source.place()} holds no token_count event with the usage of a request", hint=HINT
        )
    return TraceContents(records([reader.program]))


class _RolloutReader:
    def __init__(self, name: str) -> None:
        self.program = ObservedProgram(name, _AGENT)
        self._named = False
        self._total: _Usage | None = None
        self._asked_s: float | None = None
        self._asked_by_user = True
        self._calls: dict[str, tuple[str, float]] = {}

    def read(self, kind: str, payload: _Payload, time: float) -> None:
        """Take one line."""
        if kind == "session_meta":
            if payload.id is not None and not self._named:
                self.program.program_id, self._named = payload.id, True
        elif kind == "response_item":
            self._item(payload, time)
        elif payload.type == "token_count" and payload.info is not None:
            self._count(payload.info, time)

    def _item(self, item: _Payload, time: float) -> None:
        name = item.type or ""
        if name.endswith("_call_output"):
            self._asked_s, self._asked_by_user = time, False
            call = self._calls.pop(item.call_id or "", None)
            if call is not None and self.program.turns:
                seconds = round(max(0.0, time - call[1]), 3)
                self.program.turns[-1].tools.append(ToolRecord(call[0], seconds))
        elif name.endswith("_call") and item.call_id is not None:
            self._calls[item.call_id] = (item.name or name.removesuffix("_call"), time)
        elif name == "message" and item.role != "assistant":
            self._asked_s, self._asked_by_user = time, True

    def _count(self, info: _Info, time: float) -> None:
        # The event is repeated, unchanged, when only rate limits are news.
        if info.last_token_usage is None or info.total_token_usage == self._total is not None:
            return
        self._total = info.total_token_usage
        usage, turns = info.last_token_usage, self.program.turns
        if turns and self._asked_by_user and self._asked_s is not None:
            turns[-1].pause_kind = PauseKind.USER
        start = time if self._asked_s is None else min(time, self._asked_s)
        turn = ObservedTurn(usage.input_tokens, usage.output_tokens, start, time)
        turn.cached_tokens = usage.cached_input_tokens
        turns.append(turn)
        self._asked_s = None
