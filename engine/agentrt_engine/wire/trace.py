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
    """One tool call; `seconds` from start to result, null if not known."""

    name: str
    seconds: float | None
    signature: str | None = None


class TurnRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One LLM request of a program.

    Attributes:
        input_tokens: the whole prompt.
        new_tokens: the part of it that the previous turn cannot have left in the KV cache.
        output_tokens: generated tokens.
        pause_s: seconds from the end of the turn to the program's next request; null if not known.
        waits_for: programs, children of this one, that must end before the next request.
        hash_ids: identities of the prompt's blocks, in order, the last one possibly partial;
            equal ids mean equal tokens after equal tokens, in any program of the trace.
    """

    input_tokens: int
    new_tokens: int
    output_tokens: int
    pause_s: float | None
    pause_kind: PauseKind
    tools: tuple[ToolRecord, ...] = ()
    waits_for: tuple[str, ...] = ()
    hash_ids: tuple[int, ...] = ()


class ProgramRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run of an agent.

    Attributes:
        arrival_s: seconds from the start of the trace.
        adapter: LoRA adapter that answers its turns; absent for the base model.
        prefix_id: programs with the same one begin with the same `prefix_tokens` tokens.
        block_tokens: tokens of one block of `hash_ids`.
        max_turns: the most turns it may take, as its author declared.
    """

    program_id: str
    agent: str
    turns: tuple[TurnRecord, ...]
    arrival_s: float | None = None
    parent_id: str | None = None
    adapter: str | None = None
    prefix_id: str | None = None
    prefix_tokens: int | None = None
    block_tokens: int | None = None
    max_turns: int | None = None

    def encode(self) -> bytes:
        """One JSON line without its newline."""
        return msgspec.json.encode(self)
