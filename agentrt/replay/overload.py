"""Whether a run with given arrivals was overloaded: its backlog was still growing at the end.

Programs in excess of those that would be there anyway, if each ran alone, are what queueing
adds. In a stationary queue their number wanders about a level; past capacity it rises by the
part of the arrivals that is not served.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import fmean, median, pstdev

from agentrt_engine.outcome import RunOutcome

#: Fewer arrivals in the second half of a run tell nothing.
LEAST_ARRIVALS = 10
#: At least this part of the arrivals of the second half must have piled up.
LEAST_SHARE = 0.05
#: At the end, working the excess off at the arrival rate must take at least this many times the
#: mean time of a program alone.
LEAST_DRAIN = 0.5
#: The rise must exceed this many standard errors.
LEAST_ERRORS = 2.0


def is_overloaded(run: RunOutcome) -> bool:
    """Whether the backlog of a run grew until the last arrival; never in a closed loop."""
    times = [time for time, _count in run.backlog]
    if len(times) < 4:
        return False
    alone = _alone(run, times)
    excess = [count - there for (_time, count), there in zip(run.backlog, alone, strict=True)]
    half = len(times) // 2
    arrivals = sum(times[half] < program.arrival_s <= times[-1] for program in run.programs)
    return grows(times[half:], excess[half:], arrivals=arrivals, alone=fmean(alone[half:]))


def grows(
    times: Sequence[float], excess: Sequence[float], *, arrivals: int, alone: float
) -> bool:
    """Whether an excess rises, by more than chance, and matters.

    Args:
        times: evenly spaced, at least two.
        excess: programs beyond those that would be there if each ran alone.
        arrivals: programs that arrived in that time.
        alone: mean number of programs that would be there if each ran alone.
    """
    rise = theil_sen(times, excess) * (times[-1] - times[0])
    last = median(excess[-max(1, len(excess) // 5) :])
    return (
        arrivals >= LEAST_ARRIVALS
        and rise >= LEAST_SHARE * arrivals
        and last >= LEAST_DRAIN * alone  # both times the arrival rate, by Little's law
        and rise > LEAST_ERRORS * _standard_error(times, excess)
    )


def theil_sen(times: Sequence[float], values: Sequence[float]) -> float:
    """The median slope over all pairs of points (Theil 1950, Sen 1968)."""
    points = list(zip(times, values, strict=True))
    return median((w - v) / (u - t) for (t, v), (u, w) in combinations(points, 2) if u > t)


def _standard_error(times: Sequence[float], values: Sequence[float]) -> float:
    """Of the rise over the whole time, for residuals that are correlated from sample to sample.

    A line through n independent points has a slope with the variance 12·σ²/(n·T²); neighbours
    with correlation ρ count as n·(1 - ρ)/(1 + ρ) independent ones.
    """
    slope = theil_sen(times, values)
    residuals = [value - slope * time for time, value in zip(times, values, strict=True)]
    centre = fmean(residuals)
    residuals = [residual - centre for residual in residuals]
    square = sum(residual * residual for residual in residuals)
    if not square:
        return 0.0
    correlation = max(0.0, sum(a * b for a, b in pairwise(residuals)) / square)
    count = max(1.0, len(residuals) * (1 - correlation) / (1 + correlation))
    return pstdev(residuals) * math.sqrt(12 / count)


def _alone(run: RunOutcome, times: Sequence[float]) -> list[int]:
    """How many programs would be there at each time if every one ran alone."""
    arrivals = sorted(program.arrival_s for program in run.programs)
    ends = sorted(program.arrival_s + program.isolated_s for program in run.programs)
    return [bisect_right(arrivals, time) - bisect_right(ends, time) for time in times]
