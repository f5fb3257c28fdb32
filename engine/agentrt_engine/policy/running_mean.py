"""A mean that starts at a prior and forgets slowly."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

PSEUDO_COUNT = 5.0
MEMORY = 1_000.0


class Mean:
    """A mean that starts at a prior and mostly rests on the last thousand values."""

    __slots__ = ("count", "total")

    def __init__(self, count: float = 0.0, total: float = 0.0) -> None:
        self.count: float = count
        self.total: float = total

    def add(self, value: float) -> None:
        """Count a value."""
        if self.count >= MEMORY:
            keep = 1.0 - 1.0 / MEMORY
            self.count *= keep
            self.total *= keep
        self.count += 1.0
        self.total += value

    def shrunk(self, prior: float) -> float:
        """The mean of the values and of `prior`, counted five times."""
        return (self.total + PSEUDO_COUNT * prior) / (self.count + PSEUDO_COUNT)


def finite(value: object) -> float:
    """The number `value` is; ValueError or TypeError when it is none."""
    if not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r}, expected a number")
    return float(value)


def load_mean(data: Sequence[object]) -> Mean:
    """The mean of a snapshot; ValueError or TypeError when it is none."""
    count, total = map(finite, data)
    if count < 0.0:
        raise ValueError(f"mean of {count!r} values")
    return Mean(count, total)
