"""Workloads made smaller: fewer tokens for a small model, shorter pauses for a short run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentrt.errors import ReplayError
from agentrt.replay.program_list import ProgramList
from agentrt.replay.workload import Workload
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan

#: Tokens by which a scaled turn may exceed its share: prompt and output are rounded each.
_ROUNDING = 2


def scaled_plans(
    plans: Sequence[ProgramPlan], *, time: float = 1.0, tokens: float = 1.0
) -> list[ProgramPlan]:
    """The programs with pauses times `time` and token counts times `tokens`.

    A prompt that began with the whole context of the turn before still does, one with new tokens
    still has at least one, and what programs shared they share.
    """
    return _Scaling(time, tokens).plans(plans)


def scaled_list(programs: ProgramList, time: float) -> ProgramList:
    """The list with the gaps between its arrivals times `time`."""
    if programs.arrival_s is None:
        return programs
    return replace(programs, arrival_s=tuple(time * at for at in programs.arrival_s))


def within(plans: Sequence[ProgramPlan], max_context: int | None) -> Workload:
    """The programs whose turns fit a model, children included.

    Args:
        max_context: tokens of prompt and output together; None: any.

    Raises:
        ReplayError: there are none.
    """
    if max_context is None:
        return Workload(list(plans), [])
    fit = [plan for plan in plans if plan.largest_of_family() <= max_context]
    if not fit:
        least = min(plan.largest_of_family() for plan in plans)
        raise ReplayError(
            f"no program fits {max_context:,} tokens: the smallest has a turn of {least:,}",
            hint=f"e.g. --scale-tokens {_rounded_down((max_context - _ROUNDING) / least)}",
        )
    left_out = [plan.program_id for plan in plans if plan.largest_of_family() > max_context]
    return Workload(fit, left_out)


class _Scaling:
    def __init__(self, time: float, tokens: float) -> None:
        self._time = time
        self._tokens = tokens
        self._segments: dict[Segment, Segment] = {}

    def plans(self, plans: Sequence[ProgramPlan]) -> list[ProgramPlan]:
        return [replace(plan, turns=self._turns(plan.turns)) for plan in plans]

    def _turns(self, turns: Sequence[TurnPlan]) -> list[TurnPlan]:
        made: list[TurnPlan] = []
        before = after = 0
        for turn in turns:
            whole = turn.reusable_tokens == before
            reusable = after if whole else min(self._count(turn.reusable_tokens), after)
            new = int(turn.reusable_tokens < turn.input_tokens)
            prompt = max(1, self._count(turn.input_tokens))
            if whole:
                prompt = max(prompt, reusable + new)
            output = max(1, self._count(turn.output_tokens))
            made.append(
                TurnPlan(
                    input_tokens=prompt,
                    reusable_tokens=min(reusable, prompt - new),
                    output_tokens=output,
                    pause=round(self._time * turn.pause),
                    tool=turn.tool,
                    segments=self._scaled(turn.segments),
                    waits_for=tuple(self.plans(turn.waits_for)),
                )
            )
            before, after = turn.input_tokens + turn.output_tokens, prompt + output
        return made

    def _scaled(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        for segment in segments:
            if segment not in self._segments:
                ends = self._count(segment.start), self._count(segment.end)
                self._segments[segment] = Segment(*ends)
        found = (self._segments[segment] for segment in segments)
        return tuple(segment for segment in found if segment.end > segment.start)

    def _count(self, tokens: int) -> int:
        return round(self._tokens * tokens)


def _rounded_down(share: float) -> str:
    """Two digits that are not more than the share."""
    text = f"{share:.2g}"
    return text if float(text) <= share else f"{share * 0.95:.2g}"
