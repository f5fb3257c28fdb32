"""Programs made in memory for live replays."""

from __future__ import annotations

from collections.abc import Sequence

from agentrt.replay.program_list import ProgramList
from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan


def growing(
    name: str,
    *,
    turns: int = 3,
    first: int = 40,
    new: int = 10,
    output: int = 4,
    pause_s: float = 1.0,
    shares: Sequence[Segment] = (),
) -> ProgramPlan:
    """A program each of whose prompts begins with the whole context before."""
    made = []
    context = 0
    for index in range(turns):
        prompt = context + (new if index else first)
        made.append(TurnPlan(prompt, context, output, ticks(pause_s), "bash", tuple(shares)))
        context = prompt + output
    return ProgramPlan(name, "coder", None, None, made)


def arriving(*times: float, seed: int = 1) -> ProgramList:
    """A program at each of these times."""
    return ProgramList(seed, tuple(range(len(times))), times)
