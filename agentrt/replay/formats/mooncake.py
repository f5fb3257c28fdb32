"""Mooncake JSONL: one request per line, prompts as hash ids of blocks.

Fields: `timestamp` in milliseconds, `input_length`, `output_length`, `hash_ids`; in traces of
sessions also `session_id` and `delay` (or `delay_ms`), milliseconds from the end of the request
before. The public traces have blocks of 512 tokens.
"""

from __future__ import annotations

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.blocks import BlockNumbers, BlockSizeSearch
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import Count, Duration, PromptTokens, decode
from agentrt.replay.formats.observed import ObservedProgram, ObservedTurn, records
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt.replay.formats.validation import counted

MS = 1e-3
AGENT = "mooncake"
_PUBLIC_BLOCK_TOKENS = 512


class _Row(msgspec.Struct):
    input_length: PromptTokens
    output_length: Count
    hash_ids: tuple[int, ...]
    timestamp: Duration | None = None
    delay: Duration | None = None
    delay_ms: Duration | None = None
    session_id: str | int | None = None


_ROW = msgspec.json.Decoder(_Row)


def looks_like_mooncake(opening: Opening) -> bool:
    """Lengths and hash ids."""
    return {"input_length", "output_length", "hash_ids"} <= opening.first.keys()


def read_mooncake(source: TraceSource) -> TraceContents:
    """Lines of one `session_id` are a program; each line without one is a program by itself."""
    blocks, size = BlockNumbers(), BlockSizeSearch()
    programs: dict[str, ObservedProgram] = {}
    undelayed = 0
    for number, line in source.lines():
        row = decode(_ROW, line, source.place(number))
        size.see(row.input_length, len(row.hash_ids))
        key = f"line-{number}" if row.session_id is None else str(row.session_id)
        program = programs.setdefault(key, ObservedProgram(key, AGENT))
        if program.turns:
            delay = row.delay if row.delay is not None else row.delay_ms
            program.turns[-1].pause_s = None if delay is None else delay * MS
            undelayed += delay is None
        start = None if row.timestamp is None else row.timestamp * MS
        program.turns.append(
            ObservedTurn(
                row.input_length, row.output_length, start, hash_ids=blocks.number(row.hash_ids)
            )
        )
    notes = set_block_size(source, list(programs.values()), size)
    if undelayed:
        notes.append(unknown_ends(undelayed))
    return TraceContents(records(list(programs.values())), notes=notes)


def set_block_size(
    source: TraceSource, programs: list[ObservedProgram], size: BlockSizeSearch
) -> list[str]:
    """Give the programs the block size that fits all prompts; notes for people.

    Raises:
        TraceError: no usual size fits.
    """
    block_tokens = size.value()
    if block_tokens is None:
        raise TraceError(
            f"{source.place()}: no usual block size fits input_length and the number of hash_ids "
            f"of all lines, expected one hash id for e.g. {_PUBLIC_BLOCK_TOKENS} tokens",
            hint="check input_length and hash_ids",
        )
    for program in programs:
        program.block_tokens = block_tokens
    return [f"hash_ids are of blocks of {block_tokens} tokens: that size fits all prompts"]


def unknown_ends(pauses: int) -> str:
    """The note on pauses between requests of which only the starts are known."""
    return (
        f"{counted(pauses, 'pause')} without delay: taken as the time from request to request, "
        "which includes the generation of the reply"
    )
