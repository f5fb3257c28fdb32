"""What a trace holds, in figures."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentrt_engine.wire.trace import PauseKind, ProgramRecord, TurnRecord

#: Numbers of active programs for which the KV footprint is given.
ACTIVE_PROGRAMS = (8, 32)


@dataclass(frozen=True, slots=True)
class Summary:
    """A set of numbers; quantiles are exact, the smallest value that is not exceeded."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summary of the values; all zero when there are none."""
        if not values:
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        ordered = sorted(values)

        def quantile(percent: int) -> float:
            return ordered[-(-percent * len(ordered) // 100) - 1]

        mean = sum(ordered) / len(ordered)
        return cls(len(ordered), mean, quantile(50), quantile(95), quantile(99), ordered[-1])


@dataclass(frozen=True, slots=True)
class PauseSummary:
    """Pauses of one kind, in seconds; `unknown` ones have no duration in the trace."""

    kind: PauseKind
    seconds: Summary
    unknown: int


@dataclass(frozen=True, slots=True)
class ToolSummary:
    """Calls of one tool, in seconds; `unknown` ones have no duration in the trace."""

    name: str
    seconds: Summary
    unknown: int

    @property
    def calls(self) -> int:
        """All calls."""
        return self.seconds.count + self.unknown


@dataclass(frozen=True, slots=True)
class KvFootprint:
    """KV tokens that a number of active programs hold.

    Attributes:
        mean_tokens: when each is at the mean context of the trace's turns.
        peak_tokens: when the programs with the largest contexts are active, each at its largest.
    """

    active_programs: int
    mean_tokens: float
    peak_tokens: int


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """Figures of a trace. Tokens per turn unless said otherwise.

    Attributes:
        children: programs that are subagents of another one.
        arrival_span_s: from the first arrival to the last; None if the trace has no arrivals.
        context_tokens: prompts.
        reusable_share: share of all prompt tokens that the turn before in the same program can
            have left in the cache.
        shared_share: share of the first prompts' tokens with which an earlier program of the
            trace had begun; None if the trace tells nothing about shared prefixes.
    """

    programs: int
    turns: int
    children: int
    agents: dict[str, int]
    arrival_span_s: float | None
    turns_per_program: Summary
    context_tokens: Summary
    new_tokens: Summary
    output_tokens: Summary
    pauses: list[PauseSummary]
    tools: list[ToolSummary]
    footprints: list[KvFootprint]
    reusable_share: float
    shared_share: float | None


def reusable_tokens(previous: TurnRecord, turn: TurnRecord) -> int:
    """Tokens of a prompt that the turn before can have left in the KV cache."""
    return min(turn.input_tokens - turn.new_tokens, context_tokens(previous))


def context_tokens(turn: TurnRecord) -> int:
    """Tokens of KV after a turn: its prompt and its reply."""
    return turn.input_tokens + turn.output_tokens


def trace_statistics(programs: Sequence[ProgramRecord]) -> TraceStatistics:
    """Figures of at least one program."""
    turns = [turn for program in programs for turn in program.turns]
    agents: dict[str, int] = defaultdict(int)
    for program in programs:
        agents[program.agent] += 1
    arrivals = [program.arrival_s for program in programs if program.arrival_s is not None]
    reusable = sum(
        reusable_tokens(previous, turn)
        for program in programs
        for previous, turn in pairwise(program.turns)
    )
    return TraceStatistics(
        programs=len(programs),
        turns=len(turns),
        children=sum(program.parent_id is not None for program in programs),
        agents=dict(sorted(agents.items(), key=lambda item: -item[1])),
        arrival_span_s=max(arrivals) - min(arrivals) if arrivals else None,
        turns_per_program=Summary.of([len(program.turns) for program in programs]),
        context_tokens=Summary.of([turn.input_tokens for turn in turns]),
        new_tokens=Summary.of([turn.new_tokens for turn in turns]),
        output_tokens=Summary.of([turn.output_tokens for turn in turns]),
        pauses=_pauses(programs),
        tools=_tools(turns),
        footprints=_footprints(programs, turns),
        reusable_share=reusable / sum(turn.input_tokens for turn in turns),
        shared_share=_shared_share(programs),
    )


def _pauses(programs: Sequence[ProgramRecord]) -> list[PauseSummary]:
    """Pauses before a next turn, by kind; nothing follows the last turn of a program."""
    known: dict[PauseKind, list[float]] = defaultdict(list)
    unknown: dict[PauseKind, int] = defaultdict(int)
    for program in programs:
        for turn in program.turns[:-1]:
            if turn.pause_s is None:
                unknown[turn.pause_kind] += 1
            else:
                known[turn.pause_kind].append(turn.pause_s)
    return [
        PauseSummary(kind, Summary.of(known[kind]), unknown[kind])
        for kind in PauseKind
        if kind in known or kind in unknown
    ]


def _tools(turns: Sequence[TurnRecord]) -> list[ToolSummary]:
    calls: dict[str, list[float | None]] = defaultdict(list)
    for turn in turns:
        for tool in turn.tools:
            calls[tool.name].append(tool.seconds)
    tools = []
    for name, values in calls.items():
        known = [seconds for seconds in values if seconds is not None]
        tools.append(ToolSummary(name, Summary.of(known), len(values) - len(known)))
    return sorted(tools, key=lambda tool: (-tool.calls, tool.name))


def _footprints(
    programs: Sequence[ProgramRecord], turns: Sequence[TurnRecord]
) -> list[KvFootprint]:
    mean = sum(context_tokens(turn) for turn in turns) / len(turns)
    peaks = [max(context_tokens(turn) for turn in program.turns) for program in programs]
    footprints = []
    for active in ACTIVE_PROGRAMS:
        number = min(active, len(programs))
        peak = sum(heapq.nlargest(number, peaks))
        footprints.append(KvFootprint(active, number * mean, peak))
    return footprints


def _shared_share(programs: Sequence[ProgramRecord]) -> float | None:
    if not any(program.turns[0].hash_ids or program.prefix_id for program in programs):
        return None
    seen_blocks: set[int] = set()
    seen_prefixes: set[str] = set()
    shared = 0
    for program in programs:
        first = program.turns[0]
        tokens = 0
        if program.block_tokens is not None:
            for block in first.hash_ids:
                if block not in seen_blocks:
                    break
                tokens += program.block_tokens
            seen_blocks.update(first.hash_ids)
        if program.prefix_id is not None:
            if program.prefix_id in seen_prefixes:
                tokens = max(tokens, program.prefix_tokens or 0)
            seen_prefixes.add(program.prefix_id)
        shared += min(tokens, first.input_tokens)
    return shared / sum(program.turns[0].input_tokens for program in programs)
