"""One run on a live engine: how it is made and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agentrt.replay.live.alone import Work
from agentrt.replay.live.outputs import TurnOutput
from agentrt_engine.outcome import RunOutcome


class HintMode(StrEnum):
    """What an engine is told of its programs besides their identity."""

    NONE = "none"
    #: When tools start and finish, and when a program ends before its last turn.
    TOOLS = "tools"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How one run is made.

    Attributes:
        concurrency: programs always active; None where the list has arrivals.
        repeat: from 1; another one has other token ids.
        hints: None: of tools where the engine has our plug-in, else none.
        record: keep a timeline.
        outputs: keep what was generated; it takes about 40 bytes of memory per token.
    """

    concurrency: int | None = None
    repeat: int = 1
    hints: HintMode | None = None
    record: bool = False
    outputs: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """A program that did not get to its end; `turn` from 0."""

    program: str
    turn: int
    reason: str


@dataclass(slots=True)
class LiveRun:
    """What a run came to.

    Attributes:
        outcome: programs that failed have no end.
        works: of the programs of the outcome, in their order.
        lags_s: of each request, how much later than due it was sent.
        cached_known: whether the engine said how many tokens of each prompt it found.
        excess_tokens: found in the cache although no request of this run can have left them.
        short_turns: that generated fewer tokens than asked for.
        hints, refused_hints: sent, and not taken.
    """

    outcome: RunOutcome
    repeat: int
    outputs: list[TurnOutput] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    cached_known: bool = True
    excess_tokens: int = 0
    short_turns: int = 0
    hints: int = 0
    refused_hints: int = 0

    @property
    def largest_lag_s(self) -> float:
        """Zero without requests."""
        return max(self.lags_s, default=0.0)
