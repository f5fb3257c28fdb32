"""What every policy decides, and what it may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WaitingTurn:
    """A turn in the engine's waiting queue.

    Attributes:
        turn_id: the engine's name for the request.
        program_arrival: position of its program in the order in which programs first
            reached the engine; a turn of no known program is its own program.
        queued_s: when the turn entered the queue, seconds on the engine's clock.
        preempted: it ran already and was taken out to free memory.
    """

    turn_id: str
    program_arrival: int
    queued_s: float
    preempted: bool = False


class Policy(Protocol):
    """The decisions an engine asks for."""

    @property
    def name(self) -> str:
        """The registered name."""

    def order(self, waiting: Sequence[WaitingTurn]) -> list[WaitingTurn]:
        """The waiting turns, first to be admitted first; `waiting` is in arrival order."""
