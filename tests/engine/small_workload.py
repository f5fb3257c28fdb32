"""A few small programs over a shared prefix, and a KV memory that does not hold them all."""

from __future__ import annotations

import random

from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan

KV_TOKENS = 1_536
PROGRAMS, TURNS, OUTPUT = 6, 4, 12
SYSTEM = Segment(0, 60)


def plans() -> list[ProgramPlan]:
    """The same ones every time."""
    rng = random.Random(3)
    drawn = []
    for number in range(PROGRAMS):
        plan = ProgramPlan(f"p{number}", "test", None, None)
        context = 0
        for _turn in range(TURNS):
            fresh = rng.randint(50, 90) + (SYSTEM.end if not context else 0)
            plan.turns.append(
                TurnPlan(context + fresh, context, OUTPUT, ticks(0.2), "tool", (SYSTEM,))
            )
            context += fresh + OUTPUT
        drawn.append(plan)
    return drawn
