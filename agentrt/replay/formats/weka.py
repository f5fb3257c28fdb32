"""weka / AgentX: sessions of coding agents as JSON objects, prompts as hash ids of blocks.

`t`, `api_time` and `think_time` are seconds, `t` counted from the start of the session or, inside
a subagent, of the subagent. `hash_id_scope` "local": ids mean something within their object only.
Ids stand for whole blocks of `block_size` tokens.
"""

from __future__ import annotations

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
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt.replay.formats.validation import counted
from agentrt_engine.wire.trace import PauseKind, ToolRecord

_AGENT = "weka"
#: `t` is on a grid of one second.
_CLOCK_S = 1.0
_MS = 1e-3
_SUBAGENT = "subagent"


class _Entry(msgspec.Struct):
    """A request of type n or s, or a subagent with requests of its own."""

    type: str
    t: Duration
    tokens_in: PromptTokens | None = msgspec.field(name="in", default=None)
    tokens_out: Count | None = msgspec.field(name="out", default=None)
    hash_ids: tuple[int, ...] = ()
    api_time: Duration | None = None
    think_time: Duration | None = None
    stop: str | None = None
    agent_id: str | None = None
    subagent_type: str | None = None
    duration_ms: Duration | None = None
    requests: list[_Entry] = []


class _Session(msgspec.Struct):
    id: str
    block_size: BlockSize
    requests: list[_Entry]
    hash_id_scope: str = "local"


_SESSION = msgspec.json.Decoder(_Session)


def looks_like_weka(opening: Opening) -> bool:
    """A session with a block size and requests."""
    return {"id", "block_size", "requests"} <= opening.first.keys()


def read_weka(source: TraceSource) -> TraceContents:
    """Each object is a program, each subagent in it a child program."""
    blocks = BlockNumbers()
    programs: list[ObservedProgram] = []
    empty = 0
    for place, document in source.documents():
        session = decode(_SESSION, document, place)
        scope = session.id if session.hash_id_scope == "local" else ""
        reader = _SessionReader(place, session.block_size, scope, blocks)
        reader.read(session.id, _AGENT, session.requests, start_s=0.0, path="requests")
        programs += reader.programs
        empty += reader.empty
    notes = []
    if empty:
        notes.append(f"{counted(empty, 'agent')} without requests left out")
    background = sum(program.parent_id is not None for program in programs) - sum(
        len(turn.waits_for) for program in programs for turn in program.turns
    )
    if background:
        text = counted(background, "subagent")
        notes.append(f"{text} not waited for: its run overlaps turns of its parent")
    notes += overlap_notes(programs)
    families = _families(programs)
    if len(families) > 1:
        notes.append("every session has a clock of its own: all arrive at 0")
    return TraceContents([r for family in families for r in records(family)], notes=notes)


def _families(programs: list[ObservedProgram]) -> list[list[ObservedProgram]]:
    families: list[list[ObservedProgram]] = []
    for program in programs:
        if program.parent_id is None:
            families.append([])
        families[-1].append(program)
    return families


class _SessionReader:
    """Makes programs of one object: the session first, then its subagents."""

    def __init__(self, place: str, block_tokens: int, scope: str, blocks: BlockNumbers) -> None:
        self._place = place
        self._block_tokens = block_tokens
        self._scope = scope
        self._blocks = blocks
        self.programs: list[ObservedProgram] = []
        self.empty = 0

    def read(
        self, program_id: str, agent: str, entries: list[_Entry], *, start_s: float, path: str
    ) -> ObservedProgram | None:
        """Add an agent and its subagents; None if it made no request."""
        program = ObservedProgram(program_id, agent, block_tokens=self._block_tokens)
        requests = [
            (index, entry) for index, entry in enumerate(entries) if entry.type != _SUBAGENT
        ]
        if not requests:
            self.empty += 1
            return None
        self.programs.append(program)
        for index, entry in requests:
            if program.turns:
                _set_pause(program.turns[-1], entry)
            program.turns.append(self._turn(entry, start_s, f"{path}[{index}]"))
        subagents = 0
        for index, entry in enumerate(entries):
            if entry.type == _SUBAGENT:
                subagents += 1
                name = f"{program_id}/{entry.agent_id or f'subagent-{subagents}'}"
                self._read_subagent(program, entry, name, start_s, f"{path}[{index}]")
        return program

    def _read_subagent(
        self, parent: ObservedProgram, entry: _Entry, name: str, start_s: float, path: str
    ) -> None:
        start = start_s + entry.t
        agent = entry.subagent_type or _SUBAGENT
        child = self.read(name, agent, entry.requests, start_s=start, path=f"{path}.requests")
        if child is not None:
            if entry.duration_ms is not None:
                child.turns[-1].end_s = start + entry.duration_ms * _MS
            join_children(parent, child, slack_s=_CLOCK_S)

    def _turn(self, entry: _Entry, start_s: float, path: str) -> ObservedTurn:
        if entry.tokens_in is None or entry.tokens_out is None:
            field = "in" if entry.tokens_in is None else "out"
            raise bad_value(self._place, f"{path}.{field}", None, "a number of tokens")
        start = start_s + entry.t
        return ObservedTurn(
            entry.tokens_in,
            entry.tokens_out,
            start,
            start + (entry.api_time or 0.0),
            hash_ids=self._blocks.number(entry.hash_ids, scope=self._scope),
            pause_kind=_PAUSE_KINDS.get(entry.stop or ""),
        )


_PAUSE_KINDS = {"tool_use": PauseKind.TOOL, "end_turn": PauseKind.USER}


def _set_pause(turn: ObservedTurn, following: _Entry) -> None:
    turn.pause_s = following.think_time
    if turn.pause_kind is PauseKind.TOOL and following.think_time is not None:
        turn.tools.append(ToolRecord(UNNAMED_TOOL, following.think_time))
