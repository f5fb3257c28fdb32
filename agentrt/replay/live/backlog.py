"""How many programs an engine had before it over a run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from agentrt_engine.outcome import ProgramOutcome

#: Times at which it is sampled.
SAMPLES = 100


def backlog(programs: Sequence[ProgramOutcome]) -> list[tuple[float, int]]:
    """Programs that had arrived and not ended, at evenly spaced times until the last arrival.

    One that failed counts as gone when it came: it is no work that the engine has before it.
    """
    arrivals = sorted(program.arrival_s for program in programs)
    ends = sorted(p.arrival_s if p.end_s is None else p.end_s for p in programs)
    times = [arrivals[-1] * sample / SAMPLES for sample in range(1, SAMPLES + 1)]
    return [(at, bisect_right(arrivals, at) - bisect_right(ends, at)) for at in times]
