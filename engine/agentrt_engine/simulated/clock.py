"""Virtual time: whole picoseconds, so that a sum does not depend on how it is split."""

from __future__ import annotations

from typing import Final

TICKS_PER_S: Final = 10**12


def ticks(seconds: float) -> int:
    """Seconds as virtual time."""
    return round(seconds * TICKS_PER_S)


def seconds(time: int) -> float:
    """Virtual time as seconds."""
    return time / TICKS_PER_S
