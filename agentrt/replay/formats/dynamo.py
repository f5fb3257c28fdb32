"""Request traces of Dynamo: `dynamo.request.trace.v1` and `dynamo.agent.trace.v1`.

Events `request_end`, `tool_end` and `tool_error`, one per line, bare or in the recorder's
envelope `{"timestamp", "event"}`. `agent_context` says to which trajectory an event belongs;
earlier versions call it program, later ones session. `replay`, where recorded, has the prompt's
length and the sequence hashes of its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from agentrt.replay.formats.blocks import BlockNumbers
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import (
    BlockSize,
    Count,
    Duration,
    PromptTokens,
    bad_value,
    decode,
)
from agentrt.replay.formats.observed import (
    UNNAMED_TOOL,
    ObservedProgram,
    ObservedTurn,
    join_children,
    overlap_notes,
    records,
)
from agentrt.replay.formats.source import Opening, TraceSource, text_at
from agentrt.replay.formats.validation import counted
from agentrt_engine.wire.trace import ToolRecord

SCHEMAS = ("dynamo.request.trace.v1", "dynamo.agent.trace.v1")
_AGENT = "dynamo"
_MS = 1e-3
_EVENT_TYPES = {"request_end", "tool_end", "tool_error"}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Context(msgspec.Struct):
    trajectory_id: str | None = None
    program_id: str | None = None
    session_id: str | None = None
    parent_trajectory_id: str | None = None
    parent_program_id: str | None = None
    parent_session_id: str | None = None
    session_type_id: str | None = None
    workflow_type_id: str | None = None

    @property
    def program(self) -> str | None:
        """Which chain of requests."""
        return self.trajectory_id or self.program_id or self.session_id

    @property
    def parent(self) -> str | None:
        """The chain that launched it."""
        return self.parent_trajectory_id or self.parent_program_id or self.parent_session_id

    @property
    def agent(self) -> str:
        """Class of the workload."""
        return self.session_type_id or self.workflow_type_id or _AGENT


class _Replay(msgspec.Struct):
    trace_block_size: BlockSize
    input_length: PromptTokens
    input_sequence_hashes: tuple[int, ...]


class _Request(msgspec.Struct):
    request_id: str
    output_tokens: Count
    input_tokens: PromptTokens | None = None
    cached_tokens: Count | None = None
    request_received_ms: Duration | None = None
    total_time_ms: Duration | None = None
    replay: _Replay | None = None


class _Tool(msgspec.Struct):
    tool_class: str = UNNAMED_TOOL
    started_at_unix_ms: Duration | None = None
    ended_at_unix_ms: Duration | None = None
    duration_ms: Duration | None = None


class _Event(msgspec.Struct):
    event_type: str
    event_time_unix_ms: Duration
    agent_context: _Context | None = None
    request: _Request | None = None
    tool: _Tool | None = None


class _Envelope(msgspec.Struct):
    event: msgspec.Raw


_EVENT = msgspec.json.Decoder(_Event)
_ENVELOPE = msgspec.json.Decoder(_Envelope)


@dataclass(slots=True)
class _Chain:
    """A program while its events are collected."""

    program: ObservedProgram
    parent: str | None = None
    tools: list[tuple[float, ToolRecord]] = field(default_factory=list)


def looks_like_dynamo(opening: Opening) -> bool:
    """Events that name their schema."""
    event = opening.first
    if "event" in event:
        event = _FIELDS.decode(event["event"])
    return text_at(event, "schema") in SCHEMAS


def read_dynamo(source: TraceSource) -> TraceContents:
    """Requests of one trajectory are a program; one without `agent_context` is by itself."""
    blocks = BlockNumbers()
    chains: dict[str, _Chain] = {}
    for number, line in source.lines():
        place = source.place(number)
        document: bytes | msgspec.Raw = line
        if b'"event"' in line:
            document = decode(_ENVELOPE, line, place).event
        event = decode(_EVENT, document, place)
        if event.event_type not in _EVENT_TYPES:
            continue
        context = event.agent_context or _Context()
        if event.event_type == "request_end":
            if event.request is None:
                raise bad_value(place, "request", None, "the measurements of the request")
            chain = _chain(chains, context.program or event.request.request_id, context)
            chain.program.turns.append(_turn(event, event.request, chain.program, blocks, place))
        elif event.tool is not None and context.program is not None:
            _chain(chains, context.program, context).tools.append(_tool(event, event.tool))
    return _finish(chains)


def _chain(chains: dict[str, _Chain], name: str, context: _Context) -> _Chain:
    chain = chains.setdefault(name, _Chain(ObservedProgram(name, context.agent)))
    chain.parent = chain.parent or context.parent
    return chain


def _turn(
    event: _Event, request: _Request, program: ObservedProgram, blocks: BlockNumbers, place: str
) -> ObservedTurn:
    replay = request.replay
    tokens = replay.input_length if replay is not None else request.input_tokens
    if tokens is None:
        raise bad_value(place, "request.input_tokens", None, "the tokens of the prompt")
    if replay is not None:
        program.block_tokens = replay.trace_block_size
    start, end = _times(event, request)
    return ObservedTurn(
        tokens,
        request.output_tokens,
        start,
        end,
        cached_tokens=request.cached_tokens,
        hash_ids=blocks.number(replay.input_sequence_hashes) if replay is not None else (),
    )


def _times(event: _Event, request: _Request) -> tuple[float, float]:
    end, start = event.event_time_unix_ms, request.request_received_ms
    if start is None:
        start = end - (request.total_time_ms or 0.0)
    elif request.total_time_ms is not None:
        end = start + request.total_time_ms
    return start * _MS, max(start, end) * _MS


def _tool(event: _Event, tool: _Tool) -> tuple[float, ToolRecord]:
    end = event.event_time_unix_ms if tool.ended_at_unix_ms is None else tool.ended_at_unix_ms
    start = tool.started_at_unix_ms
    if start is None:
        start = end - (tool.duration_ms or 0.0)
    milliseconds = tool.duration_ms if tool.duration_ms is not None else max(0.0, end - start)
    return start * _MS, ToolRecord(tool.tool_class, milliseconds * _MS)


def _finish(chains: dict[str, _Chain]) -> TraceContents:
    silent = [name for name, chain in chains.items() if not chain.program.turns]
    for name in silent:
        del chains[name]
    for chain in chains.values():
        chain.program.turns.sort(key=lambda turn: turn.start_s or 0.0)
        _place_tools(chain)
    for chain in chains.values():
        if chain.parent is not None and chain.parent in chains:
            join_children(chains[chain.parent].program, chain.program, slack_s=0.0)
    notes = []
    if silent:
        notes.append(f"tools of {counted(len(silent), 'trajectory')} without requests left out")
    programs = [chain.program for chain in chains.values()]
    return TraceContents(records(programs), notes=notes + overlap_notes(programs))


def _place_tools(chain: _Chain) -> None:
    """Give each tool call to the last turn that began before it."""
    for start, tool in chain.tools:
        before = [turn for turn in chain.program.turns if (turn.start_s or 0.0) <= start]
        (before or chain.program.turns)[-1 if before else 0].tools.append(tool)
