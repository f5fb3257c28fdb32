"""Session files of Claude Code: JSON lines, one per piece of a message.

An assistant message comes in several lines with the same `message.id`, each with the usage so
far: the first ones say 1 to 5 output tokens, the largest count is the real one. The prompt is
`input_tokens` + `cache_read_input_tokens` + `cache_creation_input_tokens`. Lines with
`isSidechain` belong to subagents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import HINT, Count, bad_value, decode
from agentrt.replay.formats.observed import (
    ObservedProgram,
    ObservedTurn,
    join_children,
    overlap_notes,
    records,
)
from agentrt.replay.formats.source import Opening, TraceSource, text_at
from agentrt.replay.formats.validation import counted
from agentrt_engine.wire.trace import PauseKind, ToolRecord

_AGENT = "claude-code"
_SUBAGENT = "claude-code-subagent"
#: Model name of messages that the client made up, about errors and interruptions.
_SYNTHETIC = "<synthetic>"
_LARGEST_STUB = 5
#: Subagents are written by another process than the one that takes their result.
_CLOCK_S = 0.5


class _Usage(msgspec.Struct):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt, cached or not."""
        cached = (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        return self.input_tokens + cached


class _Block(msgspec.Struct):
    type: str = ""
    id: str | None = None
    name: str | None = None
    tool_use_id: str | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    content: str | list[_Block | str] | None = None

    def blocks(self, kind: str) -> list[_Block]:
        """The content blocks of one type."""
        if not isinstance(self.content, list):
            return []
        return [b for b in self.content if isinstance(b, _Block) and b.type == kind]


class _Line(msgspec.Struct, rename="camel"):
    type: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    is_sidechain: bool = False
    uuid: str | None = None
    parent_uuid: str | None = None
    timestamp: datetime | None = None
    message: msgspec.Raw = msgspec.Raw()


_LINE = msgspec.json.Decoder(_Line)
_MESSAGE = msgspec.json.Decoder(_Message)


@dataclass(slots=True)
class _Chain:
    """A conversation: that of the session, or of one subagent."""

    program: ObservedProgram
    turns: dict[str, ObservedTurn] = field(default_factory=dict)
    called: dict[str, tuple[ObservedTurn, str, float]] = field(default_factory=dict)
    asked_s: float | None = None
    asked_by_user: bool = True


def looks_like_claude_code(opening: Opening) -> bool:
    """Messages of a session, possibly after lines about other things."""
    return any(
        {"sessionId", "message"} <= fields.keys()
        and text_at(fields, "type") in ("user", "assistant")
        for fields in opening.objects
    )


def read_claude_code(source: TraceSource) -> TraceContents:
    """The session is a program, each subagent in the file a child program."""
    reader = _SessionReader(source)
    for number, raw in source.lines():
        place = source.place(number)
        line = decode(_LINE, raw, place)
        if line.type in ("user", "assistant") and bytes(line.message):
            reader.read(line, decode(_MESSAGE, line.message, f"{place}, message"), place)
    return reader.contents()


class _SessionReader:
    def __init__(self, source: TraceSource) -> None:
        self._source = source
        self._chains: dict[str, _Chain] = {}
        self._session: str | None = None
        self._roots: dict[str, str] = {}
        self._left_out = 0

    def read(self, line: _Line, message: _Message, place: str) -> None:
        """Take one line of a conversation."""
        if line.timestamp is None:
            raise bad_value(place, "timestamp", None, "the time of the message")
        self._session = self._session or line.session_id or self._source.path.stem
        chain = self._chain(line)
        time = line.timestamp.timestamp()
        if line.type == "user":
            self._hear(chain, message, time)
        elif message.model == _SYNTHETIC or message.usage is None:
            self._left_out += 1
        else:
            self._answer(chain, line, message, message.usage, time, place)

    def _chain(self, line: _Line) -> _Chain:
        session = self._session or ""
        if not line.is_sidechain:
            return self._chains.setdefault(session, _Chain(ObservedProgram(session, _AGENT)))
        # Without an agent id, a subagent is known by the first message of its conversation.
        root = line.agent_id or self._roots.get(line.parent_uuid or "") or line.uuid or "subagent"
        if line.uuid is not None:
            self._roots[line.uuid] = root
        name = f"{session}/{root}"
        return self._chains.setdefault(
            name, _Chain(ObservedProgram(name, _SUBAGENT, parent_id=session))
        )

    def _hear(self, chain: _Chain, message: _Message, time: float) -> None:
        """The user wrote, or tools returned."""
        results = message.blocks("tool_result")
        chain.asked_s, chain.asked_by_user = time, not results
        for result in results:
            called = chain.called.pop(result.tool_use_id or "", None)
            if called is not None:
                turn, name, start = called
                turn.tools.append(ToolRecord(name, round(max(0.0, time - start), 3)))

    def _answer(
        self,
        chain: _Chain,
        line: _Line,
        message: _Message,
        usage: _Usage,
        time: float,
        place: str,
    ) -> None:
        """The model wrote a piece of a message."""
        key = message.id or line.uuid or place
        turn = chain.turns.get(key)
        if turn is None:
            if usage.prompt_tokens == 0:
                raise bad_value(f"{place}, message", "usage.input_tokens", 0, "a prompt")
            start = chain.asked_s if chain.asked_s is not None else time
            turn = chain.turns[key] = ObservedTurn(usage.prompt_tokens, usage.output_tokens, start)
            turn.cached_tokens = usage.cache_read_input_tokens
            if chain.program.turns and chain.asked_by_user and chain.asked_s is not None:
                chain.program.turns[-1].pause_kind = PauseKind.USER
            chain.program.turns.append(turn)
            chain.asked_s = None
        turn.output_tokens = max(turn.output_tokens, usage.output_tokens)
        turn.input_tokens = max(turn.input_tokens, usage.prompt_tokens)
        turn.end_s = max(time, turn.start_s or time)
        for block in message.blocks("tool_use"):
            if block.id is not None:
                chain.called[block.id] = (turn, block.name or "?", time)

    def contents(self) -> TraceContents:
        """All conversations as programs."""
        chains = [chain for chain in self._chains.values() if chain.program.turns]
        if not chains:
            raise TraceError(
                f"{self._source.place()} holds no reply of a model with its usage", hint=HINT
            )
        for chain in chains:
            parent = self._chains.get(self._session or "")
            if chain.program.parent_id is not None and parent is not None:
                join_children(parent.program, chain.program, slack_s=_CLOCK_S)
        notes = []
        if self._left_out:
            text = counted(self._left_out, "message")
            notes.append(f"{text} without usage or made up by the client left out")
        stubs = sum(
            turn.output_tokens <= _LARGEST_STUB for chain in chains for turn in chain.turns.values()
        )
        if stubs:
            notes.append(
                f"{counted(stubs, 'turn')} with at most {_LARGEST_STUB} output tokens: perhaps "
                "only the beginning of the reply was counted"
            )
        programs = [chain.program for chain in chains]
        return TraceContents(records(programs), notes=notes + overlap_notes(programs))
