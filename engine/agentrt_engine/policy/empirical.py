"""How long tools took, as plain samples, and the pin time that Continuum derives from them.

Continuum (arXiv 2511.02230) pins a paused program for τ* = argmax of P(τ)·gain − τ over τ = 0 and
the recorded durations of the tool. The points (τ, P(τ)) that can win for some gain are the
vertices of their upper concave hull, and the winner is the last vertex reached by a slope of at
least 1/gain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Mapping
from itertools import islice
from math import isfinite
from typing import Any

from agentrt_engine.policy.learned import positive

MAX_SAMPLES = 16_384
MAX_TOOLS = 4096

#: In a snapshot: durations of all tools together, of one tool, and in all.
SAVED_OF_ALL = 16_384
SAVED_OF_ONE = 1024
SAVED = 49_152

REBUILD_GROWTH = 0.02
ALWAYS_FRESH_BELOW = 200


class Sample:
    """The last `MAX_SAMPLES` durations of one tool, in seconds.

    Attributes:
        hull_s: hull vertices, ascending, starting at 0.
        hull_gain_s: per vertex, the gain from which it beats the vertex before it; ascending.
    """

    __slots__ = ("_order", "_rebuild_at", "_seen", "hull_gain_s", "hull_s", "sorted_s")

    def __init__(self) -> None:
        self.sorted_s: list[float] = []
        self._order: deque[float] = deque()
        self._seen: int = 0
        self._rebuild_at: float = 0.0
        self.hull_s: list[float] = [0.0]
        self.hull_gain_s: list[float] = [0.0]

    def observe(self, seconds: float) -> None:
        if len(self._order) >= MAX_SAMPLES:
            oldest = self._order.popleft()
            del self.sorted_s[bisect_left(self.sorted_s, oldest)]
        self._order.append(seconds)
        insort(self.sorted_s, seconds)
        self._seen += 1

    def newest(self, count: int) -> list[float]:
        """So many of the last durations, the oldest of them first."""
        order = self._order
        return list(islice(order, max(0, len(order) - count), None))

    def best_ttl(self, gain_s: float) -> float:
        if self._seen >= self._rebuild_at:
            self._build()
        return self.hull_s[max(bisect_left(self.hull_gain_s, gain_s) - 1, 0)]

    def _build(self) -> None:
        durations = self.sorted_s
        total = len(durations)
        # Durations of zero lie in P(0): they lift the first vertex instead of adding one.
        zeros = bisect_right(durations, 0.0)
        hull_s, hull_n, gains = [0.0], [zeros], [0.0]
        before_s, before_n, last_gain = 0.0, zeros, 0.0
        for n in range(zeros + 1, total + 1):
            seconds = durations[n - 1]
            gain = total * (seconds - before_s) / (n - before_n)
            # An equal duration comes with gain 0 and so replaces its twin.
            while gain <= last_gain and len(gains) > 1:
                hull_s.pop()
                hull_n.pop()
                gains.pop()
                before_s, before_n, last_gain = hull_s[-1], hull_n[-1], gains[-1]
                gain = total * (seconds - before_s) / (n - before_n)
            hull_s.append(seconds)
            hull_n.append(n)
            gains.append(gain)
            before_s, before_n, last_gain = seconds, n, gain
        self.hull_s = hull_s
        self.hull_gain_s = gains
        # `_seen` counts on when old durations leave, so that a full sample ages as well.
        fresh = total < ALWAYS_FRESH_BELOW
        self._rebuild_at = self._seen + (1.0 if fresh else REBUILD_GROWTH * total)


class EmpiricalDurations:
    """Recorded durations per tool and of all tools together.

    At most 16,384 durations are kept per tool, and of all tools together; the oldest leave first.

    Args:
        max_tools: beyond it the tool observed longest ago is forgotten.
    """

    __slots__ = ("_everything", "_max_tools", "_tools", "_unseen")

    def __init__(self, max_tools: int = MAX_TOOLS) -> None:
        self._max_tools: int = max_tools
        self._tools: dict[str, Sample] = {}
        self._everything: Sample = Sample()
        self._unseen: Sample = Sample()

    def observe(self, tool: str, seconds: float) -> None:
        """Record one duration of `tool`.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not (isfinite(seconds) and seconds >= 0.0):
            raise ValueError(f"duration of tool {tool!r}: {seconds!r}, expected seconds >= 0")
        sample = self._tools.pop(tool, None)
        if sample is None:
            sample = Sample()
            if len(self._tools) >= self._max_tools:
                del self._tools[next(iter(self._tools))]
        self._tools[tool] = sample
        sample.observe(seconds)
        self._everything.observe(seconds)

    def count(self, tool: str | None = None) -> int:
        """Durations held of `tool`, or of all tools together."""
        return len(self._sample(tool).sorted_s)

    def cdf(self, tool: str | None, seconds: float) -> float:
        """Fraction of the recorded durations of `tool` (None: all) that are ≤ `seconds`.

        0 when there are none.
        """
        durations = self._sample(tool).sorted_s
        return bisect_right(durations, seconds) / len(durations) if durations else 0.0

    def quantile(self, tool: str | None, q: float) -> float | None:
        """That quantile of the recorded durations of `tool` (None: all); None without any."""
        durations = self._sample(tool).sorted_s
        return durations[min(int(q * len(durations)), len(durations) - 1)] if durations else None

    def best_ttl(self, tool: str | None, gain_s: float) -> float:
        """The τ in seconds that maximises P(τ)·gain_s − τ, the shortest of equals.

        τ is 0 or a recorded duration of `tool` (None: of all tools). Exact below 200 durations;
        above, as of the last 2 % of growth.
        """
        return self._sample(tool).best_ttl(gain_s)

    def snapshot(self) -> dict[str, Any]:
        """The newest durations as JSON-able data for `restore`, under 2 MB and the tools' names.

        At most 16,384 of all tools together, 1,024 of one tool, and 49,152 of single tools in
        all: the tools observed longest ago are left out.
        """
        left = SAVED
        tools: dict[str, list[float]] = {}
        for name, sample in reversed(self._tools.items()):
            if left <= 0:
                break
            tools[name] = sample.newest(min(SAVED_OF_ONE, left))
            left -= len(tools[name])
        return {
            "all": self._everything.newest(SAVED_OF_ALL),
            "tools": dict(reversed(tools.items())),
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any]) -> EmpiricalDurations:
        """The durations of a `snapshot`; ValueError, TypeError, … when it is none."""
        restored = cls()
        restored._everything = load_sample(data["all"])
        for name in list(data["tools"])[-restored._max_tools :]:
            restored._tools[str(name)] = load_sample(data["tools"][name])
        return restored

    def _sample(self, tool: str | None) -> Sample:
        if tool is None:
            return self._everything
        sample = self._tools.get(tool)
        return self._unseen if sample is None else sample


def load_sample(durations: list[object]) -> Sample:
    """The durations of a snapshot; ValueError or TypeError when they are none."""
    sample = Sample()
    for seconds in durations:
        sample.observe(positive(seconds))
    return sample
