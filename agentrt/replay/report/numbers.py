"""How numbers are written in the report."""

from __future__ import annotations

import math

_DASH = "–"


def significant(value: float | None) -> str:
    """About three digits, thousands separated, never an exponent."""
    if value is None or not math.isfinite(value):
        return _DASH
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.0005 else "<0.001"


def fixed(value: float | None, digits: int) -> str:
    """A fixed number of decimals."""
    if value is None or not math.isfinite(value):
        return _DASH
    return f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A share of one as a percentage."""
    if value is None or not math.isfinite(value):
        return _DASH
    # The space does not break: number and sign stay on one line.
    return f"{100 * value:.{0 if value in (0, 1) else 1}f}\u00a0%"


def count(value: float | None) -> str:
    """A whole number, thousands separated."""
    return fixed(value, 0)


def short(value: float) -> str:
    """For the ticks of an axis: 20, 5k, 1.5M."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}"


def words(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def duration_unit(span_s: float) -> tuple[float, str]:
    """Seconds per unit, and the unit, in which a span is easy to read."""
    for length, name in ((3600.0, "hours"), (60.0, "minutes")):
        if span_s > 4 * length:
            return length, name
    return 1.0, "seconds"
