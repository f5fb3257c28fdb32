"""The programs of traces that a simulated engine of some size can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentrt.errors import ReplayError
from agentrt.replay.trace_file import Trace
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.simulated.workload import ProgramPlan, plan_workload

#: A program is left out if one turn of it takes more than this share of the KV memory.
LARGEST_SHARE = 0.94


@dataclass(frozen=True, slots=True)
class Workload:
    """Programs ready to run.

    Attributes:
        plans: programs without a parent, children below them.
        left_out: ids of those with a turn too large for the memory.
    """

    plans: list[ProgramPlan]
    left_out: list[str]

    @property
    def children(self) -> int:
        """Programs below others."""
        return sum(_descendants(plan) for plan in self.plans)


def make_workload(
    trace: Trace,
    *,
    kv_tokens: int,
    page: int,
    pause_cap_s: float | None,
    sharing: LoraSharing = LoraSharing.OFF,
) -> Workload:
    """Plan the programs of a trace and leave out those that cannot run.

    Args:
        sharing: what programs with different adapters share; which are left out does not depend
            on it.

    Raises:
        ReplayError: none is left.
    """
    plans = plan_workload(trace.programs, page=page, pause_cap_s=pause_cap_s, sharing=sharing)
    return fitting(plans, kv_tokens)


def fitting(plans: Sequence[ProgramPlan], kv_tokens: int) -> Workload:
    """The programs that an engine of `kv_tokens` can run.

    Raises:
        ReplayError: there are none.
    """
    most = LARGEST_SHARE * kv_tokens
    fit = [plan for plan in plans if plan.largest_of_family() <= most]
    left_out = [plan.program_id for plan in plans if plan.largest_of_family() > most]
    if not fit:
        least = min(plan.largest_of_family() for plan in plans)
        raise ReplayError(
            f"no program fits {kv_tokens:,} KV tokens: the smallest has a turn of {least:,} "
            f"tokens, and a turn may take {LARGEST_SHARE:.0%} of the memory",
            hint="give a larger --kv-tokens",
        )
    return Workload(fit, left_out)


def described(trace: Trace, files: Sequence[str], workload: Workload) -> dict[str, Any]:
    """The `workload` of a result document."""
    return {
        "files": list(files),
        "format": trace.format,
        "programs": len(workload.plans),
        "turns": sum(map(count_turns, workload.plans)),
        "children": workload.children,
        "excluded": len(workload.left_out),
    }


def count_turns(plan: ProgramPlan) -> int:
    """Turns of a program and of its children."""
    children = (child for turn in plan.turns for child in turn.waits_for)
    return len(plan.turns) + sum(map(count_turns, children))


def _descendants(plan: ProgramPlan) -> int:
    return sum(1 + _descendants(child) for turn in plan.turns for child in turn.waits_for)
