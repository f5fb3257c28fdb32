"""`agentrt.trace.v1`: what programs did, one JSON line each, without their text.

First line: a `TraceHeader`. Each further line: a `ProgramRecord`. A file whose name ends
in `.gz` is gzip-compressed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

TRACE_FORMAT = "agentrt.trace.v1"


class PauseKind(StrEnum):
    """What a program waited for after a turn."""

    TOOL = "tool"
    USER = "user"
    MIXED = "mixed"
    FINAL = "final"


class TraceHeader(msgspec.Struct, frozen=True):
    """First line of a trace; `metadata` is merged into the object."""

    metadata: dict[str, Any] = {}

    def encode(self) -> bytes:
        """One JSON line without its newline."""
        return msgspec.json.encode({"format": TRACE_FORMAT, **self.metadata})


class ToolRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tool call; `seconds` from start to result."""

    name: str
    seconds: float
    signature: str | None = None


class TurnRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One LLM request of a program.

    Attributes:
        input_tokens: the whole prompt.
        new_tokens: the part of it that the previous turn cannot have left in the KV cache.
        output_tokens: generated tokens.
        pause_s: seconds from the end of the turn to the program's next request.
    """

    input_tokens: int
    new_tokens: int
    output_tokens: int
    pause_s: float
    pause_kind: PauseKind
    tools: tuple[ToolRecord, ...] = ()
    waits_for: tuple[str, ...] = ()


class ProgramRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run of an agent; `arrival_s` is relative to the start of the trace."""

    program_id: str
    agent: str
    turns: tuple[TurnRecord, ...]
    arrival_s: float | None = None
    parent_id: str | None = None
    adapter: str | None = None
    prefix_id: str | None = None
    prefix_tokens: int | None = None

    def encode(self) -> bytes:
        """One JSON line without its newline."""
        return msgspec.json.encode(self)
