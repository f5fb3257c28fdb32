"""Virtual time: whole picoseconds, so that a sum does not depend on how it is split."""

from __future__ import annotations

from typing import Final

#: A float, because compiled code rounds int / int differently from 2**53 ticks on.
TICKS_PER_S: Final = 1e12


def ticks(seconds: float) -> int:
    """Seconds as virtual time."""
    return round(seconds * TICKS_PER_S)


def seconds(time: int) -> float:
    """Virtual time as seconds."""
    return time / TICKS_PER_S
