"""The record of one program: one run of an agent, from its first turn to its last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeVar
from weakref import WeakSet

from agentrt.events import (
    Event,
    EventStream,
    ProgramEnded,
    TextDelta,
    ToolBegan,
    ToolEnded,
    TurnBegan,
    TurnEnded,
)
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord, TurnRecord

N = TypeVar("N", int, float)

#: Seconds on some clock that only moves forward.
Clock = Callable[[], float]


class ProgramState(StrEnum):
    """What a program does now."""

    PENDING = "pending"  # no request was made yet
    MODEL = "model"  # at the engine, or in the agent's own code between requests
    TOOL = "tool"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (ProgramState.FINISHED, ProgramState.FAILED, ProgramState.CANCELLED)


class ToolOutcome(StrEnum):
    """How a tool call ended."""

    FINISHED = "finished"
    FAILED = "failed"  # the tool raised
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"  # the program was cancelled
    REJECTED = "rejected"  # no such tool, or the arguments do not fit: nothing ran
    UNKNOWN = "unknown"  # a crash interrupted it, and it may have taken effect


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call, in seconds on the runtime's clock.

    Attributes:
        error: what the model was told went wrong; empty for a call that finished.
        waited_s: for other calls of the tool to end; part of the time from start to end.
        attempts: that were made; 0 if nothing ran.
        signature: the arguments in a few words, see `call_signature`.
        call_id: identity of the call in the history and in spans.
    """

    name: str
    started: float
    ended: float
    outcome: ToolOutcome
    error: str = ""
    waited_s: float = 0.0
    attempts: int = 1
    signature: str = ""
    call_id: str = ""

    @property
    def seconds(self) -> float:
        """From the call to its result."""
        return self.ended - self.started


@dataclass(slots=True)
class Turn:
    """One model request that was answered, and the tool calls it led to.

    Attributes:
        started: when the request was sent, in seconds on the runtime's clock.
        ended: when its answer had arrived.
        input_tokens: the whole prompt.
        output_tokens: generated tokens.
        cached_tokens: part of the prompt found in the KV cache; None: the engine does not say.
        queue_s: seconds the request waited at the engine; None: the engine does not say.
        extends_previous: the prompt begins with the previous turn's prompt and reply.
        finish_reason: why generation ended, in the words of the engine.
    """

    started: float
    ended: float
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    queue_s: float | None
    extends_previous: bool
    finish_reason: str
    tools: list[ToolCall] = field(default_factory=list)

    @property
    def model_s(self) -> float:
        """Seconds from sending the request to its answer, waiting at the engine included."""
        return self.ended - self.started


@dataclass(slots=True)
class Program:
    """One run of an agent. The runtime updates it; anyone may watch.

    Attributes:
        program_id: unique, 32 hexadecimal digits.
        agent: name of the agent.
        copy: 1 for the first program of this agent in its runtime, 2 for the next, …
        parent: the program that started it, if one did.
        children: programs that it started, in order.
        prefix: what its prompts begin with and others' do too, name and tokens; of a fork.
        state: what it does now.
        started: seconds on the runtime's clock, None while it has not begun.
        ended: seconds on the runtime's clock, None while it runs.
        turn: number of the model request in progress or answered last, from 1; 0 before.
        current_tool: name of the tool that runs now.
        turns: answered model requests, in order.
        early_calls: tool calls of the agent itself before its first request.
        output: what the agent returned, once it has.
        error: why it failed, in one line.
        adapter: over the engine's model; None: the model itself.
    """

    program_id: str
    agent: str
    copy: int
    parent: Program | None = field(default=None, repr=False, compare=False)
    children: list[Program] = field(default_factory=list, repr=False, compare=False)
    prefix: tuple[str, int] | None = None
    state: ProgramState = ProgramState.PENDING
    started: float | None = None
    ended: float | None = None
    turn: int = 0
    current_tool: str | None = None
    turns: list[Turn] = field(default_factory=list)
    early_calls: list[ToolCall] = field(default_factory=list)
    output: Any = None
    error: str = ""
    adapter: str | None = None
    # None as long as there are none, so that a record can be copied and pickled.
    _readers: WeakSet[EventStream] | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Name for people: `agent#copy`."""
        return f"{self.agent}#{self.copy}"

    def events(self) -> EventStream:
        """What happens to it and to the programs that it starts, from now on."""
        stream = EventStream(self)
        if not self.state.ended:
            self._readers = self._readers or WeakSet()
            self._readers.add(stream)
        return stream

    @property
    def is_followed(self) -> bool:
        """Whether anybody reads its events."""
        return any(program._readers for program in self._lineage())

    def emit(self, event: Event) -> None:
        """Tell an event to whoever reads those of the program or of one that it is part of."""
        for program in self._lineage():
            for reader in program._readers or ():
                reader.add(event)

    def _lineage(self) -> Iterator[Program]:
        program: Program | None = self
        while program is not None:
            yield program
            program = program.parent

    def begin_turn(self) -> None:
        """A model request is sent."""
        self.turn += 1
        self.state = ProgramState.MODEL
        self.emit(TurnBegan(self))

    def generated(self, text: str, answer: str) -> None:
        """The model generated some text, and with it some of the text of its answer."""
        self.emit(TextDelta(self, text, answer))

    def end_turn(self, turn: Turn) -> None:
        """The model request was answered."""
        self.turns.append(turn)
        self.emit(TurnEnded(self, turn))

    def begin_tool(self, name: str, call_id: str, arguments: Mapping[str, Any]) -> None:
        """A tool call begins."""
        self.current_tool = name
        self.state = ProgramState.TOOL
        self.emit(ToolBegan(self, call_id, name, arguments))

    def end_tool(self, call: ToolCall) -> None:
        """The tool call ended; it belongs to the turn before it."""
        self.current_tool = None
        self.state = ProgramState.MODEL
        (self.turns[-1].tools if self.turns else self.early_calls).append(call)
        self.emit(ToolEnded(self, call))

    def end(self, state: ProgramState, now: float, *, output: Any = None, error: str = "") -> None:
        """The program is over."""
        self.state = state
        self.ended = now
        self.output = output
        self.error = error
        self.emit(ProgramEnded(self))
        self._readers = None

    @property
    def tool_calls(self) -> list[ToolCall]:
        """All tool calls, in order."""
        return [*self.early_calls, *(call for turn in self.turns for call in turn.tools)]

    @property
    def input_tokens(self) -> int:
        """Prompt tokens of all turns."""
        return sum(turn.input_tokens for turn in self.turns)

    @property
    def output_tokens(self) -> int:
        """Generated tokens of all turns."""
        return sum(turn.output_tokens for turn in self.turns)

    @property
    def cached_tokens(self) -> int | None:
        """Prompt tokens found in the KV cache; None when the engine never says."""
        return sum_known(turn.cached_tokens for turn in self.turns)

    @property
    def queue_s(self) -> float | None:
        """Seconds spent waiting at the engine; None when the engine never says."""
        return sum_known(turn.queue_s for turn in self.turns)

    @property
    def model_s(self) -> float:
        """Seconds spent in model requests, waiting at the engine included."""
        return sum(turn.model_s for turn in self.turns)

    @property
    def tool_s(self) -> float:
        """Seconds spent in tools."""
        return sum(call.seconds for call in self.tool_calls)

    def record(self, start: float) -> ProgramRecord:
        """The program as a line of a trace.

        Args:
            start: beginning of the trace, in seconds on the runtime's clock.
        """
        return ProgramRecord(
            program_id=self.program_id,
            agent=self.agent,
            # One that was resumed began before its trace did.
            arrival_s=None if self.started is None else max(0.0, self.started - start),
            parent_id=self.parent.program_id if self.parent else None,
            adapter=self.adapter,
            prefix_id=self.prefix[0] if self.prefix else None,
            prefix_tokens=self.prefix[1] if self.prefix else None,
            turns=_turn_records(self.turns, self.children),
        )


def sum_known(values: Iterable[N | None]) -> N | None:
    """The sum of the values that are known; None when none is."""
    known = [value for value in values if value is not None]
    return sum(known[1:], start=known[0]) if known else None


def _turn_records(turns: Sequence[Turn], children: Sequence[Program]) -> tuple[TurnRecord, ...]:
    if not turns:
        return ()
    new_tokens = [turns[0].input_tokens]
    pauses: list[float] = []
    waits: list[tuple[str, ...]] = []
    for previous, turn in pairwise(turns):
        waits.append(
            tuple(
                child.program_id
                for child in children
                if child.started is not None and child.ended is not None
                if previous.ended <= child.started and child.ended <= turn.started
            )
        )
        held = previous.input_tokens + previous.output_tokens if turn.extends_previous else 0
        new_tokens.append(max(0, turn.input_tokens - held))
        pauses.append(turn.started - previous.ended)
    return tuple(
        TurnRecord(
            input_tokens=turn.input_tokens,
            new_tokens=new,
            output_tokens=turn.output_tokens,
            pause_s=pause,
            pause_kind=_pause_kind(turn, is_last=turn is turns[-1]),
            tools=tuple(
                ToolRecord(call.name, call.seconds, call.signature or None)
                for call in _executed(turn)
            ),
            waits_for=waited,
        )
        for turn, new, pause, waited in zip(
            turns, new_tokens, [*pauses, 0.0], [*waits, ()], strict=True
        )
    )


def _pause_kind(turn: Turn, *, is_last: bool) -> PauseKind:
    if is_last:
        return PauseKind.FINAL
    return PauseKind.TOOL if _executed(turn) else PauseKind.MIXED


def _executed(turn: Turn) -> list[ToolCall]:
    unmeasured = (ToolOutcome.REJECTED, ToolOutcome.UNKNOWN)
    return [call for call in turn.tools if call.outcome not in unmeasured]
