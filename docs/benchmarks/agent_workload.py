"""The workload of the live benchmarks: small agents that fill a small KV memory.

Programs of 7 turns over a system prompt of 180 tokens that all share. Contexts grow from about 400
to about 1,500 tokens; a turn generates 16; pauses are Pareto(1.2) from 0.3 s, cut to 3 s; programs
arrive with gaps of Exp(1 s). Drawn from a seed: every engine gets the same.
"""

from __future__ import annotations

import random
from itertools import accumulate

from agentrt.replay.program_list import ProgramList
from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan

PROGRAMS = 10
TURNS = 7
OUTPUT_TOKENS = 16
SYSTEM_TOKENS = 180
KV_TOKENS = 6_144
MAX_RUNNING = 16
MEAN_GAP_S = 1.0

_SYSTEM = Segment(0, SYSTEM_TOKENS)
_TOOLS = ("search", "read", "run")


def draw(seed: int, programs: int = PROGRAMS) -> tuple[list[ProgramPlan], ProgramList]:
    """Programs and their arrivals."""
    rng = random.Random(f"live benchmark {seed}")
    plans = [_program(rng, f"program-{number}") for number in range(programs)]
    gaps = [0.0, *(rng.expovariate(1 / MEAN_GAP_S) for _ in range(programs - 1))]
    return plans, ProgramList(seed, tuple(range(programs)), tuple(accumulate(gaps)))


def closed(seed: int, programs: int) -> tuple[list[ProgramPlan], ProgramList]:
    """The same programs without arrivals: so many are always active."""
    plans, listed = draw(seed, programs)
    return plans, ProgramList(seed, listed.programs)


def _program(rng: random.Random, name: str) -> ProgramPlan:
    plan = ProgramPlan(name, "benchmark", None, None)
    context = 0
    for _turn in range(TURNS):
        fresh = rng.randint(110, 220) if context else SYSTEM_TOKENS + rng.randint(180, 260)
        plan.turns.append(
            TurnPlan(
                input_tokens=context + fresh,
                reusable_tokens=context,
                output_tokens=OUTPUT_TOKENS,
                pause=ticks(min(3.0, 0.3 * rng.paretovariate(1.2))),
                tool=rng.choice(_TOOLS),
                segments=(_SYSTEM,),
            )
        )
        context += fresh + OUTPUT_TOKENS
    return plan
