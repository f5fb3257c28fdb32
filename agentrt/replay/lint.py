"""Where consecutive turns of a program stop sharing a prefix, and what is likely the cause.

The KV cache holds the prompt and the reply of the turn before. A prompt that only appends to
them finds all of it there; any other prompt finds what comes before the first difference. The
tokens after it, up to what the turn before covered, are computed again: they are wasted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from agentrt.replay.statistics import context_tokens, reusable_tokens
from agentrt_engine.wire.trace import ProgramRecord, TurnRecord

#: A difference within this first share of the context is one of what stands before the messages.
_EARLY_SHARE = 0.05
#: Tokens that templates and tokenisation move at the end of a prompt.
_TAIL_TOKENS = 32
#: A difference this close to the beginning of the reply is one of the reply: many traces were
#: made from blocks and round down to a whole one.
_NEAR_TOKENS = 128


class Cause(StrEnum):
    """Why a prompt does not extend the turn before, judged by where the difference is."""

    RESET = "full reset"
    SHRUNK = "prompt shrank"
    EARLY = "early change"
    MIDDLE = "history edited"
    REPLY = "reply rewritten"
    TAIL = "tail lost"


#: What each cause usually is, for people.
EXPLANATIONS: dict[Cause, str] = {
    Cause.RESET: "a new conversation, or a compaction that also changed the system prompt",
    Cause.SHRUNK: "compaction or truncated history",
    Cause.EARLY: f"in the first {_EARLY_SHARE:.0%}: a timestamp, other tools or system prompt",
    Cause.MIDDLE: "earlier messages were changed, reordered or cut out",
    Cause.REPLY: "tool calls serialised anew, or thinking blocks stripped",
    Cause.TAIL: "chat template or tokenisation at the end of the prompt",
}


@dataclass(frozen=True, slots=True)
class Break:
    """A turn whose prompt does not begin with the whole context of the turn before.

    Attributes:
        turn: index of the turn, from 0.
        context_tokens: prompt and reply of the turn before.
        input_tokens: the prompt.
        reusable_tokens: what it has in common with that context.
        wasted_tokens: what is computed again although the turn before had computed as many.
    """

    program_id: str
    turn: int
    cause: Cause
    context_tokens: int
    input_tokens: int
    reusable_tokens: int
    wasted_tokens: int


@dataclass(frozen=True, slots=True)
class CauseTotal:
    """All breaks of one cause."""

    cause: Cause
    likely: str
    turns: int
    wasted_tokens: int


@dataclass(frozen=True, slots=True)
class ProgramTotal:
    """All breaks of one program.

    Attributes:
        share: of the program's prompt tokens that are wasted.
        cause: the one that wastes most.
        worst_turn: index of the turn that wastes most.
    """

    program_id: str
    breaks: int
    wasted_tokens: int
    share: float
    cause: Cause
    worst_turn: int


@dataclass(frozen=True, slots=True)
class LintReport:
    """What lint found.

    Attributes:
        follow_ups: turns that have a turn before them.
        prompt_tokens: of all turns.
        share: of them that are wasted.
        causes: those that occur, the most wasteful first.
        programs: those with breaks, the most wasteful first.
    """

    follow_ups: int
    prompt_tokens: int
    wasted_tokens: int
    share: float
    causes: list[CauseTotal]
    programs: list[ProgramTotal]
    breaks: list[Break]


def lint_programs(programs: Sequence[ProgramRecord]) -> LintReport:
    """Find all breaks of at least one program."""
    breaks = [found for program in programs for found in _breaks(program)]
    prompts = {p.program_id: sum(turn.input_tokens for turn in p.turns) for p in programs}
    total = sum(prompts.values())
    wasted = sum(found.wasted_tokens for found in breaks)
    return LintReport(
        follow_ups=sum(len(program.turns) - 1 for program in programs),
        prompt_tokens=total,
        wasted_tokens=wasted,
        share=wasted / total,
        causes=_by_cause(breaks),
        programs=_by_program(breaks, prompts),
        breaks=breaks,
    )


def _breaks(program: ProgramRecord) -> list[Break]:
    found = []
    for index, (previous, turn) in enumerate(pairwise(program.turns), 1):
        context, reusable = context_tokens(previous), reusable_tokens(previous, turn)
        wasted = min(turn.input_tokens, context) - reusable
        if wasted > 0:
            cause = _cause(previous, turn, reusable, program.block_tokens or 1)
            found.append(
                Break(
                    program.program_id, index, cause, context, turn.input_tokens, reusable, wasted
                )
            )
    return found


def _cause(previous: TurnRecord, turn: TurnRecord, reusable: int, block_tokens: int) -> Cause:
    """Judge by the sizes and the place of the difference.

    Args:
        block_tokens: resolution with which the place is known.
    """
    early = reusable <= max(_EARLY_SHARE * context_tokens(previous), block_tokens - 1)
    if turn.input_tokens < previous.input_tokens:
        return Cause.RESET if early else Cause.SHRUNK
    if early:
        return Cause.EARLY
    lost = context_tokens(previous) - reusable
    slack = _TAIL_TOKENS + block_tokens - 1
    if lost <= slack:
        return Cause.TAIL
    if reusable > previous.input_tokens - max(slack, _NEAR_TOKENS):
        return Cause.REPLY
    return Cause.MIDDLE


def _by_cause(breaks: Sequence[Break]) -> list[CauseTotal]:
    groups: dict[Cause, list[Break]] = defaultdict(list)
    for found in breaks:
        groups[found.cause].append(found)
    totals = [
        CauseTotal(cause, EXPLANATIONS[cause], len(group), sum(b.wasted_tokens for b in group))
        for cause, group in groups.items()
    ]
    return sorted(totals, key=lambda total: -total.wasted_tokens)


def _by_program(breaks: Sequence[Break], prompts: dict[str, int]) -> list[ProgramTotal]:
    groups: dict[str, list[Break]] = defaultdict(list)
    for found in breaks:
        groups[found.program_id].append(found)
    totals = []
    for program_id, group in groups.items():
        wasted = sum(found.wasted_tokens for found in group)
        worst = max(group, key=lambda found: found.wasted_tokens)
        share = wasted / prompts[program_id]
        cause = _by_cause(group)[0].cause
        totals.append(ProgramTotal(program_id, len(group), wasted, share, cause, worst.turn))
    return sorted(totals, key=lambda total: -total.wasted_tokens)
