"""Agentic Mooncake JSONL of Dynamo: Mooncake lines with dependencies between requests.

A request starts when all requests of `wait_for` are done and `delay` + `tool_wait_ms`
milliseconds have passed; one without dependencies at its `timestamp`. `branches` names requests
that it launches, `tool_events` the tool calls before it. The versioned form begins with a header
(`schema`, `block_size`) and has `dependencies`, `not_before_ms` and `play_id` instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.blocks import BlockNumbers, BlockSizeSearch
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import (
    HINT,
    BlockSize,
    Count,
    Duration,
    PromptTokens,
    decode,
)
from agentrt.replay.formats.mooncake import MS, set_block_size, unknown_ends
from agentrt.replay.formats.observed import UNNAMED_TOOL, ObservedProgram, ObservedTurn, records
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt.replay.formats.validation import counted
from agentrt_engine.wire.trace import PauseKind, ToolRecord

_AGENT = "dynamo"
_OWN_FIELDS = {"wait_for", "branches", "tool_wait_ms", "tool_events", "prefix_reset"}


class _ToolEvent(msgspec.Struct):
    duration_ms: Duration
    tool_class: str = UNNAMED_TOOL


class _Dependency(msgspec.Struct):
    request_id: str
    delay_ms: Duration = 0.0


class _Row(msgspec.Struct):
    request_id: str
    input_length: PromptTokens
    output_length: Count
    hash_ids: tuple[int, ...] = ()
    session_id: str | None = None
    play_id: str = ""
    timestamp: Duration | None = None
    not_before_ms: Duration | None = None
    delay: Duration | None = None
    delay_ms: Duration | None = None
    tool_wait_ms: Duration | None = None
    wait_for: list[str] = []
    branches: list[str] = []
    dependencies: list[_Dependency] = []
    tool_events: list[_ToolEvent] = []

    @property
    def waits(self) -> list[str]:
        """Requests that must be done before this one."""
        return [*self.wait_for, *(dependency.request_id for dependency in self.dependencies)]

    @property
    def pause_s(self) -> float | None:
        """Seconds from the end of the last dependency to this request."""
        if self.dependencies:
            return max(dependency.delay_ms for dependency in self.dependencies) * MS
        delay = self.delay if self.delay is not None else self.delay_ms
        if delay is None and self.tool_wait_ms is None:
            return None
        return ((delay or 0.0) + (self.tool_wait_ms or 0.0)) * MS

    @property
    def tools(self) -> list[ToolRecord]:
        """The tool calls before this request."""
        if self.tool_events:
            return [ToolRecord(tool.tool_class, tool.duration_ms * MS) for tool in self.tool_events]
        return [ToolRecord(UNNAMED_TOOL, self.tool_wait_ms * MS)] if self.tool_wait_ms else []


class _Header(msgspec.Struct):
    schema: str
    block_size: BlockSize


_ROW = msgspec.json.Decoder(_Row)
_HEADER = msgspec.json.Decoder(_Header)


@dataclass(slots=True)
class _Request:
    """A line in its program: the index of its turn, and which requests it waits for and starts."""

    program: ObservedProgram
    turn: int
    waits: list[str] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)

    @property
    def is_last(self) -> bool:
        """Whether its program ends with it."""
        return self.turn == len(self.program.turns) - 1


def looks_like_agentic_mooncake(opening: Opening) -> bool:
    """Requests with ids and dependencies, or the header of the versioned form."""
    if "block_size" in opening.first and "mooncake" in (opening.text("schema") or ""):
        return True
    return any(
        {"request_id", "input_length"} <= fields.keys() and fields.keys() & _OWN_FIELDS
        for fields in opening.objects
    )


def read_agentic_mooncake(source: TraceSource) -> TraceContents:
    """Requests of one session are a program; a session that another waits for is its child."""
    blocks, size = BlockNumbers(), BlockSizeSearch()
    programs: dict[str, ObservedProgram] = {}
    requests: dict[str, _Request] = {}
    block_tokens: int | None = None
    undelayed = 0
    for number, line in source.lines():
        place = source.place(number)
        if not requests and b'"schema"' in line:
            block_tokens = decode(_HEADER, line, place).block_size
            continue
        row = decode(_ROW, line, place)
        if row.request_id in requests:
            raise TraceError(f'{place}: request_id "{row.request_id}" occurs twice', hint=HINT)
        name = "/".join(part for part in (row.play_id, row.session_id) if part)
        key = name or row.request_id
        program = programs.setdefault(key, ObservedProgram(key, _AGENT))
        if program.turns:
            undelayed += _pause_before(row, program.turns[-1])
        start = row.timestamp if row.timestamp is not None else row.not_before_ms
        ids = blocks.number(row.hash_ids, scope=row.play_id)
        program.turns.append(
            ObservedTurn(
                row.input_length,
                row.output_length,
                None if start is None else start * MS,
                hash_ids=ids,
            )
        )
        if ids:
            size.see(row.input_length, len(ids))
        requests[row.request_id] = _Request(
            program, len(program.turns) - 1, row.waits, row.branches
        )
    notes = [] if block_tokens else set_block_size(source, list(programs.values()), size)
    for program in programs.values():
        program.block_tokens = block_tokens or program.block_tokens
    notes += _link(requests)
    if undelayed:
        notes.append(unknown_ends(undelayed))
    return TraceContents(records(list(programs.values())), notes=notes)


def _pause_before(row: _Row, previous: ObservedTurn) -> bool:
    """Note the pause between two turns of a program; True if the line does not say it."""
    previous.pause_s = row.pause_s
    previous.tools = row.tools
    previous.pause_kind = PauseKind.TOOL if row.tools else None
    return row.pause_s is None


def _link(requests: dict[str, _Request]) -> list[str]:
    """Make sessions that others launch their children; notes on what cannot be expressed."""
    for request in requests.values():
        launchers = request.waits if request.turn == 0 else []
        for name in launchers:
            if name in requests:
                _adopt(requests[name].program, request.program)
        for name in request.branches:
            if name in requests:
                _adopt(request.program, requests[name].program)
    waits = [(request, name) for request in requests.values() for name in request.waits]
    unknown = sum(name not in requests for _, name in waits)
    others = [
        (request, requests[name])
        for request, name in waits
        if request.turn > 0 and name in requests and requests[name].program is not request.program
    ]
    inexpressible = sum(not _wait_for(request, other) for request, other in others)
    notes = []
    if unknown:
        notes.append(f"{counted(unknown, 'wait')} for requests outside the file left out")
    if inexpressible:
        notes.append(
            f"{counted(inexpressible, 'wait')} for other sessions left out: only waiting for the "
            "end of a child session can be expressed"
        )
    return notes


def _wait_for(request: _Request, other: _Request) -> bool:
    """Let the turn before `request` wait for the program that ends with `other`, if possible."""
    if not (other.is_last and _adopt(request.program, other.program)):
        return False
    waiting = request.program.turns[request.turn - 1].waits_for
    if other.program.program_id not in waiting:
        waiting.append(other.program.program_id)
    return True


def _adopt(parent: ObservedProgram, child: ObservedProgram) -> bool:
    """Make `child` a child of `parent` if it can be; True if it is one."""
    is_free = child.parent_id is None and child is not parent
    if is_free and parent.parent_id != child.program_id:
        child.parent_id = parent.program_id
    return child.parent_id == parent.program_id
