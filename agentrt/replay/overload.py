"""Whether a run with given arrivals was overloaded: its backlog was still growing at the end.

Programs in excess of those that would be there anyway, if each ran alone, are what queueing
adds. In a stationary queue their number wanders about a level; past capacity it rises by the
part of the arrivals that is not served.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean, median, pstdev

from agentrt_engine.outcome import RunOutcome

#: Fewer arrivals in the second half of a run tell nothing.
LEAST_ARRIVALS = 10
#: At least this part of the arrivals of the second half must have piled up, and at least the
#: square root of their number, by which a random number of arrivals varies.
LEAST_SHARE = 0.05
#: At the end, working the excess off at the arrival rate must take at least this many times the
#: mean time of a program alone.
LEAST_DRAIN = 0.5
#: The same for a backlog that grew over the whole run but not over its second half: either it
#: paused by chance, or it has come to a level at which programs mostly wait.
LEAST_DRAIN_OF_ALL = 3.0
#: The rise must exceed this many standard errors …
LEAST_ERRORS = 2.0
#: … unless this part of all arrivals is in excess at the end.
LARGE_SHARE = 0.25
#: Programs that all come before any could end are too many if the last of them ends so many times
#: later than it would alone.
BURST_DRAIN = 3.0


def is_overloaded(run: RunOutcome) -> bool:
    """Whether the backlog of a run grew until the last arrival; never in a closed loop."""
    times = [time for time, _count in run.backlog]
    if len(times) < 4:
        return False
    alone = _alone(run, times)
    excess = [count - there for (_time, count), there in zip(run.backlog, alone, strict=True)]
    if _is_burst(run, times[-1]):
        return True
    half = len(times) // 2
    earlier = sum(program.arrival_s <= times[half] for program in run.jobs)
    late = Stretch(times[half:], excess[half:], len(run.jobs) - earlier, fmean(alone[half:]))
    whole = Stretch(times, excess, len(run.jobs), fmean(alone))
    return grows(late, of=whole.arrivals) or grows(whole, least_drain=LEAST_DRAIN_OF_ALL)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a run.

    Attributes:
        times: evenly spaced, at least two.
        excess: programs beyond those that would be there if each ran alone, at these times.
        arrivals: programs that arrived in it.
        alone: mean number of programs that would be there if each ran alone.
    """

    times: Sequence[float]
    excess: Sequence[float]
    arrivals: int
    alone: float


def grows(stretch: Stretch, *, of: int | None = None, least_drain: float = LEAST_DRAIN) -> bool:
    """Whether the excess rises, by more than chance, and matters.

    Args:
        of: arrivals until its end, if it is not the whole run.
        least_drain: what working off the excess must take, in mean times alone.
    """
    times, excess, arrivals = stretch.times, stretch.excess, stretch.arrivals
    rise = theil_sen(times, excess) * (times[-1] - times[0])
    last = median(excess[-max(1, len(excess) // 5) :])
    matters = (
        arrivals >= LEAST_ARRIVALS
        and rise >= max(LEAST_SHARE * arrivals, math.sqrt(arrivals))
        # Both over the arrival rate are times, by Little's law.
        and last >= least_drain * stretch.alone
    )
    return matters and (
        last >= LARGE_SHARE * (of or arrivals)
        or rise > LEAST_ERRORS * _standard_error(times, excess)
    )


def _is_burst(run: RunOutcome, last_s: float) -> bool:
    """Whether too many programs came in a time too short for a backlog to show a trend."""
    ends = [program.end_s for program in run.jobs if program.end_s is not None]
    left = len(run.jobs) - sum(end <= last_s for end in ends)
    alone_s = max(program.arrival_s + program.isolated_s for program in run.jobs) - last_s
    return (
        len(run.jobs) >= 2 * LEAST_ARRIVALS
        and left >= LARGE_SHARE * len(run.jobs)
        and max(ends, default=math.inf) - last_s > BURST_DRAIN * alone_s
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
    arrivals = sorted(program.arrival_s for program in run.jobs)
    ends = sorted(program.arrival_s + program.isolated_s for program in run.jobs)
    return [bisect_right(arrivals, time) - bisect_right(ends, time) for time in times]
