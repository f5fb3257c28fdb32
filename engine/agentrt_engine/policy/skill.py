"""How far predictions can be trusted, judged by those that have come true or not."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from agentrt_engine.policy.running_mean import finite

SKILL_PROGRAMS = 256


class Skill:
    """How well predictions followed what happened, over about the last 256 programs."""

    __slots__ = ("sums",)

    def __init__(self) -> None:
        #: programs, then Σ over rows of x, y, x², xy, y²; a program has weight 1 in all.
        self.sums: list[float] = [0.0] * 6

    def add(self, rows: list[tuple[float, float]]) -> None:
        """The (predicted, actual) pairs of one program."""
        keep = 1.0 - 1.0 / SKILL_PROGRAMS
        moments = [(1.0, x, y, x * x, x * y, y * y) for x, y in rows]
        means = [sum(column) / len(rows) for column in zip(*moments, strict=True)]
        self.sums = [keep * old + new for old, new in zip(self.sums, means, strict=True)]

    def correlation(self) -> float:
        """Pearson's r; 0 where it is undefined."""
        n, x, y, xx, xy, yy = self.sums
        spread_x, spread_y = n * xx - x * x, n * yy - y * y
        # Rounding leaves some 1e-16 of the squares when all values are equal.
        if spread_x <= 1e-9 * n * xx or spread_y <= 1e-9 * n * yy:
            return 0.0
        return (n * xy - x * y) / sqrt(spread_x * spread_y)

    def load(self, saved: Sequence[object]) -> None:
        """Take over the `sums` of a snapshot; ValueError or TypeError when they are none."""
        numbers = [finite(value) for value in saved]
        if len(numbers) != len(self.sums):
            raise ValueError(f"skill {numbers!r}, expected {len(self.sums)} numbers")
        self.sums = numbers

    def lower(self) -> float:
        """r less one standard error, as if each program were one observation."""
        return self.correlation() - 1.0 / sqrt(max(self.sums[0], 1.0))
