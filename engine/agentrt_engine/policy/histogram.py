"""A log-bin histogram of pauses, and the return rate that follows from it.

Bin 0 is [0, 10 ms), bin k is [10 ms·1.2^(k−1), 10 ms·1.2^k), the last of the 72 bins starts at
about 58 minutes and has no end. Within a bin the density is uniform; in the last it is
exponential with the mean excess seen there, shrunk towards the global one (and that towards the
start of the bin), so that a pause of a day has a small but positive rate of return.

A tool's histogram leans on one pseudo-count spread evenly over the bins and three with the shape
of all tools together, so that a new tool starts at the global shape.

A censored observation says only "longer than". Its weight moves to the bins on its right in
proportion to what is there, which is the Kaplan–Meier estimate (Efron 1967): with d returns and
c censored pauses in a bin and r pauses that reached it, S falls by the factor 1 − d/r.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from math import exp, inf, isfinite, log
from operator import neg
from typing import Any

BINS = 72
FIRST_EDGE_S = 0.010
EDGES_S: list[float] = [0.0] + [FIRST_EDGE_S * 1.2**k for k in range(BINS - 1)]
LAST = BINS - 1

EVEN_PSEUDO_COUNT = 1.0
GLOBAL_PSEUDO_COUNT = 3.0
MAX_RATE = 1.0 / FIRST_EDGE_S

#: Relative error of a rate, with a margin.
ROUNDING = 1e-9

#: How far bounds may reach, bins: to more than four times the length of the pause so far.
BINS_AHEAD = 8

REBUILD_GROWTH = 0.02
ALWAYS_FRESH_BELOW = 50


class Histogram:
    """Pauses of one tool: what was counted, and the tables last built from it.

    Attributes:
        weight: observations counted, censored ones included.
        survival: P(pause > edge) per edge, then 0 for the end of time.
        rest: ∫ P(pause > t) dt in seconds from each edge on, then 0.
        hull_next: per edge, the next vertex of the upper concave hull of the points
            (∫S up to the edge, 1 − S(edge)) that starts at this edge.
        hull_slope: the slope to that vertex, which is the return rate at the edge.
        rebuild_at, rebuild_at_global: weights from which the tables are too old.
        build_id: of the tables, given by their owner.
    """

    __slots__ = (
        "build_id",
        "censored",
        "excess_s",
        "hull_next",
        "hull_slope",
        "rebuild_at",
        "rebuild_at_global",
        "rest",
        "returned",
        "survival",
        "tail_mean_s",
        "weight",
    )

    def __init__(self) -> None:
        self.returned: list[int] = [0] * BINS
        self.censored: list[int] = [0] * BINS
        self.excess_s: float = 0.0
        self.weight: int = 0
        self.survival: list[float] = []
        self.rest: list[float] = []
        self.hull_next: list[int] = []
        self.hull_slope: list[float] = []
        self.tail_mean_s: float = EDGES_S[LAST]
        self.rebuild_at: float = 0.0
        self.rebuild_at_global: float = 0.0
        self.build_id: int = 0

    def observe(self, seconds: float, censored: bool) -> None:
        k = bisect_right(EDGES_S, seconds) - 1
        if censored:
            self.censored[k] += 1
        else:
            self.returned[k] += 1
        if k == LAST:
            self.excess_s += seconds - EDGES_S[LAST]
        self.weight += 1

    @classmethod
    def shaped(cls, survival: list[float], tail_mean_s: float) -> Histogram:
        """One without counts, its tables built from P(pause > edge), which falls everywhere."""
        histogram = cls()
        histogram.survival = [*survival, 0.0]
        histogram.tail_mean_s = tail_mean_s
        histogram._build_rest()
        histogram._build_hull()
        return histogram

    def build(self, shape: Histogram | None) -> None:
        """Rebuild the tables, leaning on the built tables of `shape` (None: on nothing)."""
        self._build_survival(shape)
        expected = EDGES_S[LAST] if shape is None else shape.tail_mean_s
        self.tail_mean_s = (expected + self.excess_s) / (1 + self.returned[LAST])
        self._build_rest()
        self._build_hull()
        self.rebuild_at = next_rebuild(self.weight, 1.0)
        if shape is not None:
            # The more a tool has of its own, the less a change of the global shape moves it.
            own = (self.weight + EVEN_PSEUDO_COUNT + GLOBAL_PSEUDO_COUNT) / GLOBAL_PSEUDO_COUNT
            self.rebuild_at_global = next_rebuild(shape.weight, own)

    def _build_survival(self, shape: Histogram | None) -> None:
        even = EVEN_PSEUDO_COUNT / BINS
        survives = [0.0] * BINS
        at_risk = 0.0
        for k in range(LAST, -1, -1):
            # Sums from the right: no difference of nearly equal numbers in a thin tail.
            beyond = at_risk + self.censored[k]
            events = self.returned[k] + even
            if shape is not None:
                events += GLOBAL_PSEUDO_COUNT * (shape.survival[k] - shape.survival[k + 1])
            at_risk = beyond + events
            survives[k] = beyond / at_risk
        survival = [0.0] * (BINS + 1)
        left = 1.0
        for k in range(BINS):
            survival[k] = left
            left *= survives[k]
        self.survival = survival

    def _build_rest(self) -> None:
        survival = self.survival
        rest = [0.0] * (BINS + 1)
        total = survival[LAST] * self.tail_mean_s
        rest[LAST] = total
        for k in range(LAST - 1, -1, -1):
            total += (EDGES_S[k + 1] - EDGES_S[k]) * (survival[k] + survival[k + 1]) / 2
            rest[k] = total
        self.rest = rest

    def _build_hull(self) -> None:
        survival, rest = self.survival, self.rest
        hull_next = [BINS] * BINS
        hull_slope = [0.0] * BINS
        for k in range(LAST, -1, -1):
            here, ahead = survival[k], rest[k]
            j = k + 1
            slope = (here - survival[j]) / (ahead - rest[j])
            while j < BINS and slope < hull_slope[j]:
                j = hull_next[j]
                slope = (here - survival[j]) / (ahead - rest[j])
            hull_next[k] = j
            hull_slope[k] = slope
        self.hull_next = hull_next
        self.hull_slope = hull_slope

    def survival_at(self, seconds: float) -> float:
        """P(pause > seconds)."""
        k = bisect_right(EDGES_S, seconds) - 1
        if k == LAST:
            return self.survival[LAST] * exp((EDGES_S[LAST] - seconds) / self.tail_mean_s)
        end = EDGES_S[k + 1]
        over = self.survival[k + 1]
        return over + (self.survival[k] - over) * (end - seconds) / (end - EDGES_S[k])

    def return_rate(self, elapsed_s: float) -> float:
        """The Gittins index of a pause that has lasted `elapsed_s`, in 1/s.

        Within a bin the hazard rises, so the best τ ends at an edge (or never): the tangent from
        the point at `elapsed_s` to the hull of the later edges, exact.
        """
        k = bisect_right(EDGES_S, elapsed_s) - 1
        if k == LAST:
            return min(1.0 / self.tail_mean_s, MAX_RATE)
        survival, hull_slope = self.survival, self.hull_slope
        j = k + 1
        end, over = EDGES_S[j], survival[j]
        left_s = end - elapsed_s
        density = (survival[k] - over) / (end - EDGES_S[k])
        here = over + density * left_s
        rate = 2.0 * density / (here + over)
        if rate < hull_slope[j]:
            rest = self.rest
            ahead = rest[j] + left_s * (here + over) / 2
            while j < BINS and rate < hull_slope[j]:
                j = self.hull_next[j]
                rate = (here - survival[j]) / (ahead - rest[j])
        return rate if rate < MAX_RATE else MAX_RATE

    def returns_at(self, floor: float) -> float:
        """Up to what length, seconds, a pause ends at this rate (1/s) or more all the time.

        Within a bin the rate rises, so it falls below the floor at an edge.
        """
        if floor > MAX_RATE:
            return 0.0
        edges = zip(EDGES_S, self.hull_slope, strict=True)
        return next((edge for edge, rate in edges if rate < floor), inf)

    def rate_bounds(
        self, elapsed_s: float, share: float, floor: float, ceiling: float
    ) -> tuple[float, float, float]:
        """The least and the largest return rate from now on, for some time.

        That is a share of this bin or, with a share of 1, this bin and those behind it as long as
        the rate is at the floor or above all the time, or below the ceiling. Within a bin the rate
        rises. The bounds leave room for rounding.

        Returns:
            rates in 1/s, and up to what length of the pause they hold, seconds.
        """
        k = bisect_right(EDGES_S, elapsed_s) - 1
        least = self.return_rate(elapsed_s)
        if share < 1.0 and k < LAST:
            end = elapsed_s + (EDGES_S[k + 1] - elapsed_s) * share
            most = self.return_rate(end)
        else:
            most = self._most_in_bin(k)
            last = min(k + BINS_AHEAD, LAST)
            while k < last:
                lower = min(least, self.hull_slope[k + 1])
                upper = max(most, self._most_in_bin(k + 1))
                if lower < floor and upper >= ceiling:
                    break
                least, most = lower, upper
                k += 1
            end = EDGES_S[k + 1] if k < LAST else inf
        return least * (1.0 - ROUNDING), most * (1.0 + ROUNDING), end

    def _most_in_bin(self, k: int) -> float:
        """The largest return rate in a bin, at its end."""
        if k == LAST:
            return 1.0 / self.tail_mean_s
        over = self.survival[k + 1]
        hazard = (self.survival[k] - over) / (EDGES_S[k + 1] - EDGES_S[k]) / over
        return max(hazard, self.hull_slope[k + 1])

    def mean_remaining(self, elapsed_s: float) -> float:
        """E[pause − elapsed | pause > elapsed], in seconds."""
        k = bisect_right(EDGES_S, elapsed_s) - 1
        if k == LAST:
            return self.tail_mean_s
        here = self.survival_at(elapsed_s)
        in_bin = (EDGES_S[k + 1] - elapsed_s) * (here + self.survival[k + 1]) / 2
        return (self.rest[k + 1] + in_bin) / here

    def quantile(self, q: float, elapsed_s: float) -> float:
        """The length that a pause longer than `elapsed_s` stays below with probability q."""
        target = self.survival_at(elapsed_s) * (1.0 - q)
        if target >= self.survival[LAST]:
            j = bisect_left(self.survival, -target, key=neg)
            if j == 0:
                return elapsed_s
            over, before = self.survival[j], self.survival[j - 1]
            end, start = EDGES_S[j], EDGES_S[j - 1]
            seconds = end - (end - start) * (target - over) / (before - over)
        else:
            seconds = EDGES_S[LAST] + self.tail_mean_s * log(self.survival[LAST] / target)
        return max(seconds, elapsed_s)


def next_rebuild(weight: int, slack: float) -> float:
    """The weight from which tables built at `weight` are rebuilt; `slack` widens the margin."""
    if weight < ALWAYS_FRESH_BELOW:
        return weight + 1
    return weight * (1.0 + REBUILD_GROWTH * slack)


def dump_histogram(histogram: Histogram) -> dict[str, Any]:
    """Only the counts, without empty bins: [bin, returned, censored] each."""
    pairs = zip(histogram.returned, histogram.censored, strict=True)
    return {
        "bins": [[k, d, c] for k, (d, c) in enumerate(pairs) if d or c],
        "excess_s": histogram.excess_s,
    }


def load_histogram(data: Mapping[str, Any]) -> Histogram:
    """The histogram that `dump_histogram` wrote; ValueError, KeyError, … when it is none."""
    histogram = Histogram()
    for k, returned, censored in data["bins"]:
        if not (0 <= k < BINS and returned >= 0 and censored >= 0):
            raise ValueError(f"bin {k!r} with {returned!r} and {censored!r}, expected counts")
        histogram.returned[k] = int(returned)
        histogram.censored[k] = int(censored)
    histogram.excess_s = float(data["excess_s"])
    if not (isfinite(histogram.excess_s) and histogram.excess_s >= 0.0):
        raise ValueError(f"excess_s {histogram.excess_s!r}, expected seconds >= 0")
    histogram.weight = sum(histogram.returned) + sum(histogram.censored)
    return histogram
