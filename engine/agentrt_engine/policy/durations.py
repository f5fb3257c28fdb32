"""How long the pauses of each tool last, and at what rate a pause ends.

Each tool has a log-bin histogram that leans on that of all tools together; see `histogram.py`
for its bins, its pseudo-counts, censored pauses and the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from agentrt_engine.errors import SettingError
from agentrt_engine.policy.histogram import Histogram, dump_histogram, load_histogram

MAX_TOOLS = 4096

#: Bins and eighths of names' characters in a snapshot, which keeps it under 2 MB.
SAVED = 98_304
SNAPSHOT_VERSION = 1


class ToolDurations:
    """Pauses of every tool seen, each histogram shrunk towards all of them together.

    Tables are rebuilt only on a query, and only when a weight they rest on has grown by 2 %
    (by one below 50). A query about an unknown tool gets the global shape and stores nothing.

    Args:
        max_tools: beyond it the tool observed longest ago is forgotten; what it added to the
            global shape stays.
    """

    __slots__ = ("_builds", "_everything", "_max_tools", "_tools", "_unseen")

    def __init__(self, max_tools: int = MAX_TOOLS) -> None:
        self._max_tools: int = max_tools
        self._tools: dict[str, Histogram] = {}
        self._everything: Histogram = Histogram()
        self._unseen: Histogram = Histogram()
        self._builds: int = 0

    @property
    def version(self) -> int:
        """Another number whenever an answer may be another."""
        return self._everything.weight + self._builds

    def observe(self, tool: str, seconds: float, *, censored: bool = False) -> None:
        """Count one pause of `tool`; `censored` when it was cut off and only lasted longer.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not (isfinite(seconds) and seconds >= 0.0):
            raise ValueError(f"duration of tool {tool!r}: {seconds!r}, expected seconds >= 0")
        histogram = self._tools.pop(tool, None)
        if histogram is None:
            histogram = Histogram()
            if len(self._tools) >= self._max_tools:
                del self._tools[next(iter(self._tools))]
        self._tools[tool] = histogram
        histogram.observe(seconds, censored)
        self._everything.observe(seconds, censored)

    def count(self, tool: str | None = None) -> int:
        """Observations of `tool`, or of all tools together, censored ones included."""
        if tool is None:
            return self._everything.weight
        histogram = self._tools.get(tool)
        return 0 if histogram is None else histogram.weight

    def return_rate(self, tool: str, elapsed_s: float) -> float:
        """Rate at which a pause in `tool` that has lasted `elapsed_s` ends, in 1/s.

        max over τ of P(R ≤ e+τ | R > e) / E[min(R − e, τ) | R > e], the Gittins index of the
        pause R at e; right-continuous in e, positive, and at most one in 10 ms.
        """
        return self._fresh(tool).return_rate(elapsed_s if elapsed_s > 0.0 else 0.0)

    def returns_at(self, tool: str, floor: float) -> float:
        """How long a pause in `tool` ends at this rate or more; see `Histogram.returns_at`."""
        return self._fresh(tool).returns_at(floor)

    def rate_bounds(
        self, tool: str, elapsed_s: float, share: float, floor: float, ceiling: float
    ) -> tuple[float, float, float]:
        """Bounds of the return rate for a while; see `Histogram.rate_bounds`."""
        elapsed_s = elapsed_s if elapsed_s > 0.0 else 0.0
        return self._fresh(tool).rate_bounds(elapsed_s, share, floor, ceiling)

    def stale(self, tool: str) -> bool:
        """Whether the next query about `tool` rebuilds its tables."""
        histogram = self._tools.get(tool, self._unseen)
        everything = self._everything.weight
        return histogram.weight >= histogram.rebuild_at or everything >= histogram.rebuild_at_global

    def builds(self, tool: str) -> int:
        """Which tables answer queries about `tool`: another number after each rebuild."""
        return self._tools.get(tool, self._unseen).build_id

    def quantile(self, tool: str, q: float, elapsed_s: float = 0.0) -> float:
        """Length in seconds, elapsed part included, not exceeded with probability `q`.

        Raises:
            ValueError: `q` is not in [0, 1).
        """
        if not 0.0 <= q < 1.0:
            raise ValueError(f"quantile {q!r}, expected 0 <= q < 1")
        return self._fresh(tool).quantile(q, max(elapsed_s, 0.0))

    def cdf(self, tool: str, seconds: float) -> float:
        """P(pause ≤ seconds)."""
        return 1.0 - self._fresh(tool).survival_at(max(seconds, 0.0))

    def mean_remaining(self, tool: str, elapsed_s: float) -> float:
        """Expected further seconds of a pause that has lasted `elapsed_s`."""
        return self._fresh(tool).mean_remaining(max(elapsed_s, 0.0))

    def snapshot(self) -> dict[str, Any]:
        """What was counted, as JSON-able data for `restore`, under 2 MB.

        Everything, unless there are thousands of tools with long names or pauses of all lengths:
        then the tools observed longest ago are left out.
        """
        left = SAVED
        tools: dict[str, Any] = {}
        for name, histogram in reversed(self._tools.items()):
            dumped = dump_histogram(histogram)
            left -= len(dumped["bins"]) + len(name) // 8 + 4
            if left < 0:
                break
            tools[name] = dumped
        return {
            "version": SNAPSHOT_VERSION,
            "all": dump_histogram(self._everything),
            "tools": dict(reversed(tools.items())),
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any], max_tools: int = MAX_TOOLS) -> ToolDurations:
        """The statistics a `snapshot` was taken of.

        Raises:
            SettingError: not a snapshot of this version, or damaged.
        """
        restored = cls(max_tools)
        try:
            version = data["version"]
            if version != SNAPSHOT_VERSION:
                raise ValueError(f"version {version!r}, expected {SNAPSHOT_VERSION}")
            restored._everything = load_histogram(data["all"])
            # The tools of a snapshot stand in the order of their last observation.
            for name in list(data["tools"])[-max_tools:]:
                restored._tools[str(name)] = load_histogram(data["tools"][name])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise SettingError(
                f"saved tool durations are unusable: {error!r}",
                hint="delete the saved statistics; they are learned again from the tools that run",
            ) from error
        return restored

    def _fresh(self, tool: str) -> Histogram:
        histogram = self._tools.get(tool)
        if histogram is None:
            histogram = self._unseen
        shape = self._everything
        if histogram.weight >= histogram.rebuild_at or shape.weight >= histogram.rebuild_at_global:
            if shape.weight >= shape.rebuild_at:
                shape.build(None)
            histogram.build(shape)
            self._builds += 1
            histogram.build_id = self._builds
        return histogram
