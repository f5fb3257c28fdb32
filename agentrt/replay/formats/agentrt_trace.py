"""agentrt.trace.v1, our own format."""

from __future__ import annotations

from typing import Any

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.blocks import BlockNumbers
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import HINT, decode
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt.replay.formats.validation import check_program
from agentrt_engine.wire.trace import TRACE_FORMAT, ProgramRecord

_HEADER = msgspec.json.Decoder(dict[str, Any])
_PROGRAM = msgspec.json.Decoder(ProgramRecord)


def looks_like_agentrt_trace(opening: Opening) -> bool:
    """The header names the format."""
    return opening.text("format") == TRACE_FORMAT


def read_agentrt_trace(source: TraceSource) -> TraceContents:
    """One program per line, after the header."""
    programs: list[ProgramRecord] = []
    metadata: dict[str, Any] | None = None
    blocks = BlockNumbers()
    for number, line in source.lines():
        place = source.place(number)
        if metadata is None:
            metadata = decode(_HEADER, line, place)
            if metadata.pop("format", None) != TRACE_FORMAT:
                raise TraceError(
                    f'{place}: expected the header {{"format": "{TRACE_FORMAT}"}}', hint=HINT
                )
            continue
        program = decode(_PROGRAM, line, place)
        check_program(program, place)
        programs.append(_share_numbers(program, blocks))
    return TraceContents(programs, metadata or {})


def _share_numbers(program: ProgramRecord, blocks: BlockNumbers) -> ProgramRecord:
    if program.block_tokens is None:
        return program
    turns = tuple(
        msgspec.structs.replace(turn, hash_ids=blocks.number(turn.hash_ids))
        for turn in program.turns
    )
    return msgspec.structs.replace(program, turns=turns)
