"""How long a pause will last, as a client says: some quantiles of it.

Between the quantiles the pause is spread evenly, from 0 s to the first of them too. Beyond the
last one at probability q and t seconds it is exponential with mean t/ln(1/(1 − q)), a week at
most, as if it had been so from the start. Clients err, so for the return rate a small share of
the probability is spread over all greater lengths: a pause that outlasts everything said of it
returns ever more slowly, and its KV yields in the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from math import exp, isfinite, log, log1p

from agentrt_engine.policy.histogram import BINS, EDGES_S, LAST, Histogram

#: Share of the probability that is spread evenly over the bins beyond the last quantile.
DOUBT = 0.02

#: Longest pause that can be expected, seconds; a longer one counts as this.
LONGEST_S = 7 * 86_400.0

#: Shortest, so that a rate is finite.
SHORTEST_S = 1e-3

#: Expectations kept, because the same tools are called again and again.
_REMEMBERED = 1024


class Expectation:
    """The length of one pause; elapsed times count from its start, in seconds.

    Attributes:
        points: (q, seconds), both rising: the pause is over after so many seconds with
            probability q.
    """

    __slots__ = ("_shape", "_tail_mean_s", "points")

    def __init__(self, points: tuple[tuple[float, float], ...]) -> None:
        self.points = points
        last_q, last_s = points[-1]
        self._tail_mean_s = min(last_s / -log1p(-last_q), LONGEST_S)
        first = min(bisect_left(EDGES_S, last_s), LAST)
        survival = [
            (1.0 - DOUBT) * self._survival_at(edge) + DOUBT * min(1.0, (BINS - k) / (BINS - first))
            for k, edge in enumerate(EDGES_S)
        ]
        self._shape = Histogram.shaped(survival, max(EDGES_S[LAST], self._tail_mean_s))

    @classmethod
    def of(cls, quantiles: Mapping[float, float]) -> Expectation:
        """The expectation with these quantiles, {probability: seconds}.

        Seconds beyond a week count as a week, and less than 1 ms as that.

        Raises:
            ValueError: there is none, a probability is not between 0 and 1, a time is negative or
                not finite, or a larger quantile is shorter.
        """
        if not quantiles:
            raise ValueError("no quantile: expected at least one")
        before = 0.0
        points = []
        for q, seconds in sorted(quantiles.items()):
            if not 0.0 < q < 1.0:
                raise ValueError(f"quantile {q!r}: expected a number above 0 and below 1")
            if not (isfinite(seconds) and seconds >= 0.0):
                raise ValueError(f"quantile {q!r}: {seconds!r}: expected seconds, 0 or more")
            if seconds < before:
                raise ValueError(f"quantile {q!r}: {seconds!r} s is less than a smaller quantile")
            before = seconds
            points.append((float(q), min(max(float(seconds), SHORTEST_S), LONGEST_S)))
        return _expectation(tuple(points))

    def quantile(self, q: float) -> float:
        """Seconds that the pause does not exceed with probability `q`, 0 up to below 1."""
        q_before = s_before = 0.0
        for known_q, seconds in self.points:
            if q <= known_q:
                return s_before + (seconds - s_before) * (q - q_before) / (known_q - q_before)
            q_before, s_before = known_q, seconds
        return s_before + self._tail_mean_s * log((1.0 - q_before) / (1.0 - q))

    def return_rate(self, elapsed_s: float) -> float:
        """Rate at which a pause that has lasted so long ends, 1/s; see `ToolDurations`."""
        return self._shape.return_rate(max(elapsed_s, 0.0))

    def returns_at(self, floor: float) -> float:
        """As `Histogram.returns_at`."""
        return self._shape.returns_at(floor)

    def rate_bounds(
        self, elapsed_s: float, share: float, floor: float, ceiling: float
    ) -> tuple[float, float, float]:
        """As `Histogram.rate_bounds`."""
        return self._shape.rate_bounds(max(elapsed_s, 0.0), share, floor, ceiling)

    def best_ttl(self, gain_s: float) -> float:
        """The τ that maximises P(τ)·gain_s − τ, of 0 and the quantiles; the shortest of equals."""
        best_s = best = 0.0
        for q, seconds in self.points:
            if q * gain_s - seconds > best:
                best_s, best = seconds, q * gain_s - seconds
        return best_s

    def _survival_at(self, seconds: float) -> float:
        q_before = s_before = 0.0
        for q, known_s in self.points:
            if seconds < known_s:
                share = (seconds - s_before) / (known_s - s_before)
                return 1.0 - q_before - (q - q_before) * share
            q_before, s_before = q, known_s
        return (1.0 - q_before) * exp((s_before - seconds) / self._tail_mean_s)


@lru_cache(_REMEMBERED)
def _expectation(points: tuple[tuple[float, float], ...]) -> Expectation:
    return Expectation(points)
