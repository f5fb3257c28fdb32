"""From what formats tell of single requests to programs with turns, pauses and new tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agentrt.replay.formats.blocks import common_blocks
from agentrt.replay.formats.validation import counted
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord, TurnRecord

#: Name of a tool where a format knows only that there was one.
UNNAMED_TOOL = "tool"
#: Times are kept to the microsecond; what is finer is noise of arithmetic.
_DIGITS = 6


@dataclass(slots=True)
class ObservedTurn:
    """One model request as a format tells it.

    Attributes:
        input_tokens: the whole prompt.
        start_s, end_s: request and end of the reply, on the clock of the file; None: unknown.
        cached_tokens: part of the prompt that the original engine found in its cache.
        pause_s: seconds to the program's next request; None: from the times.
        pause_kind: None: by the tools.
    """

    input_tokens: int
    output_tokens: int
    start_s: float | None = None
    end_s: float | None = None
    cached_tokens: int | None = None
    hash_ids: tuple[int, ...] = ()
    pause_s: float | None = None
    pause_kind: PauseKind | None = None
    tools: list[ToolRecord] = field(default_factory=list)
    waits_for: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ObservedProgram:
    """Turns of one program in order."""

    program_id: str
    agent: str
    turns: list[ObservedTurn] = field(default_factory=list)
    parent_id: str | None = None
    block_tokens: int | None = None

    @property
    def start_s(self) -> float | None:
        """When its first request was made."""
        return self.turns[0].start_s

    def record(self, *, trace_start_s: float | None = None) -> ProgramRecord:
        """The program as a line of agentrt.trace.v1.

        Args:
            trace_start_s: beginning of the trace on the clock of the file.
        """
        arrival = None
        if self.start_s is not None and trace_start_s is not None:
            arrival = round(self.start_s - trace_start_s, _DIGITS)
        new = [self.turns[0].input_tokens]
        new += [
            turn.input_tokens - _reusable(previous, turn, self.block_tokens)
            for previous, turn in pairwise(self.turns)
        ]
        pauses = [_pause(turn, following) for turn, following in pairwise(self.turns)]
        return ProgramRecord(
            program_id=self.program_id,
            agent=self.agent,
            arrival_s=arrival,
            parent_id=self.parent_id,
            block_tokens=self.block_tokens,
            turns=tuple(
                TurnRecord(
                    input_tokens=turn.input_tokens,
                    new_tokens=new_tokens,
                    output_tokens=turn.output_tokens,
                    pause_s=pause,
                    pause_kind=_kind(turn, is_last=turn is self.turns[-1]),
                    tools=tuple(turn.tools),
                    waits_for=tuple(turn.waits_for),
                    hash_ids=turn.hash_ids,
                )
                for turn, new_tokens, pause in zip(self.turns, new, [*pauses, 0.0], strict=True)
            ),
        )


def records(programs: Sequence[ObservedProgram]) -> list[ProgramRecord]:
    """All programs as records, arrivals counted from the earliest start."""
    starts = [program.start_s for program in programs if program.start_s is not None]
    first = min(starts, default=None)
    return [program.record(trace_start_s=first) for program in programs]


def overlap_notes(programs: Sequence[ObservedProgram]) -> list[str]:
    """A note on requests that were made before the reply to the one before had ended."""
    overlaps = sum(
        turn.pause_s is None
        and turn.end_s is not None
        and following.start_s is not None
        and following.start_s < turn.end_s
        for program in programs
        for turn, following in pairwise(program.turns)
    )
    if not overlaps:
        return []
    return [f"{counted(overlaps, 'request')} made before the reply before had ended: no pause"]


def join_children(parent: ObservedProgram, child: ObservedProgram, *, slack_s: float) -> None:
    """Let the parent wait for a child that ran between two of its turns.

    Args:
        slack_s: resolution of the clock of the file.
    """
    child.parent_id = parent.program_id
    start, end = child.turns[0].start_s, child.turns[-1].end_s
    if start is None or end is None:
        return
    for turn, following in pairwise(parent.turns):
        if turn.start_s is None or following.start_s is None:
            continue
        if turn.start_s <= start <= following.start_s and end <= following.start_s + slack_s:
            turn.waits_for.append(child.program_id)
            return


def _reusable(previous: ObservedTurn, turn: ObservedTurn, block_tokens: int | None) -> int:
    """Tokens of the prompt that the turn before can have left in the cache.

    With hash ids: the common leading blocks; the whole context of the turn before if these reach
    its last whole block and the prompt is long enough for it. Without: the context of the turn
    before, or only its prompt where the reply cannot have been kept whole. A prompt that shrank
    was rewritten; then what the original engine found in its cache is all that is known.
    """
    context = previous.input_tokens + previous.output_tokens
    if block_tokens is not None and previous.hash_ids and turn.hash_ids:
        common = common_blocks(previous.hash_ids, turn.hash_ids)
        if common >= previous.input_tokens // block_tokens and turn.input_tokens >= context:
            return context
        return min(common * block_tokens, previous.input_tokens, turn.input_tokens)
    if turn.input_tokens >= context:
        return context
    if turn.input_tokens >= previous.input_tokens:
        return previous.input_tokens
    return min(turn.cached_tokens or 0, turn.input_tokens, previous.input_tokens)


def _pause(turn: ObservedTurn, following: ObservedTurn) -> float | None:
    if turn.pause_s is not None:
        return round(turn.pause_s, _DIGITS)
    end = turn.end_s if turn.end_s is not None else turn.start_s
    if end is None or following.start_s is None:
        return None
    return max(0.0, round(following.start_s - end, _DIGITS))


def _kind(turn: ObservedTurn, *, is_last: bool) -> PauseKind:
    if is_last:
        return PauseKind.FINAL
    if turn.pause_kind is not None:
        return turn.pause_kind
    return PauseKind.TOOL if turn.tools or turn.waits_for else PauseKind.MIXED
