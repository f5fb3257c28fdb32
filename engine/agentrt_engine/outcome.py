"""What a run of programs on an engine, simulated or live, came to.

Times are seconds since the start of the run, on the engine's clock, virtual or real.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(slots=True)
class ProgramOutcome:
    """One program of a run.

    Attributes:
        arrival_s: when its first turn was asked for.
        end_s: when its last turn ended; None if it never did.
        isolated_s: what it would take alone on the engine with nothing ever evicted.
        parent_id: the program that waited for it; None for a program of its own.
        ttft_s: per turn, from the request to the first generated token.
        new_tokens: prompt tokens that nobody had computed before.
        reusable_tokens: prompt tokens that a turn of this program left in the cache, or of another
            one with the same prefix.
        hit_tokens: those of them that were still there.
        host_hit_tokens: those of them that came back from host memory.
        output_tokens: generated tokens.
        lost_tokens: tokens of its KV that were evicted while it was alive.
        preemptions: how often a running turn of it was taken out to free memory.
        account: GPU-seconds and token-seconds it is charged with.
    """

    program_id: str
    agent: str
    arrival_s: float
    end_s: float | None = None
    isolated_s: float = 0.0
    parent_id: str | None = None
    ttft_s: list[float] = field(default_factory=list)
    turns: int = 0
    new_tokens: int = 0
    reusable_tokens: int = 0
    hit_tokens: int = 0
    host_hit_tokens: int = 0
    output_tokens: int = 0
    lost_tokens: int = 0
    preemptions: int = 0
    account: Account = field(default_factory=lambda: Account())

    @property
    def jct_s(self) -> float | None:
        """Job completion time: from arrival to the end of the last turn."""
        return None if self.end_s is None else self.end_s - self.arrival_s


@dataclass(slots=True)
class Account:
    """What one program cost.

    Attributes:
        prefill_s: GPU-seconds that prefilled new tokens.
        recompute_s: GPU-seconds that prefilled tokens which had been in the cache.
        decode_s: its share of the GPU-seconds of decode steps.
        held_token_s: token-seconds of KV held while it was paused.
        held_price_s: the same, each at the price of memory then: GPU-seconds.
        lost_to: tokens of its KV evicted for the benefit of each program.
    """

    prefill_s: float = 0.0
    recompute_s: float = 0.0
    decode_s: float = 0.0
    held_token_s: float = 0.0
    held_price_s: float = 0.0
    lost_to: dict[str, int] = field(default_factory=dict)


class Activity(StrEnum):
    """What a program was doing."""

    QUEUED = "queued"
    PREFILL = "prefill"
    DECODE = "decode"
    TOOL = "tool"
    CHILDREN = "children"


@dataclass(slots=True)
class Segment:
    """A program did one thing from `start_s` to `end_s`.

    Attributes:
        program: index into `RunOutcome.programs`.
        turn: which turn, from 0; a pause belongs to the turn before it.
        evicted_s: when KV of it was evicted during this pause, the first time.
    """

    program: int
    activity: Activity
    turn: int
    start_s: float
    end_s: float
    evicted_s: float | None = None


@dataclass(slots=True)
class Occupancy:
    """Tokens of KV memory at one time; they add up to the capacity.

    Attributes:
        running: of turns that are being prefilled or decoded.
        leased: of paused programs, under a lease.
        cached: idle and not leased, so evictable at once.
        free: holding nothing.
    """

    time_s: float
    running: int
    leased: int
    cached: int
    free: int
    waiting_turns: int
    active_programs: int


@dataclass(slots=True)
class PauseRecord:
    """A pause as it was and as it had been predicted when it began.

    Attributes:
        predicted_p50_s, predicted_p95_s: quantiles; None where the policy does not predict.
    """

    tool: str
    actual_s: float
    predicted_p50_s: float | None
    predicted_p95_s: float | None


@dataclass(slots=True)
class Timeline:
    """What happened when, for pictures; only recorded when asked for."""

    segments: list[Segment] = field(default_factory=list)
    occupancy: list[Occupancy] = field(default_factory=list)
    pauses: list[PauseRecord] = field(default_factory=list)


@dataclass(slots=True)
class RunOutcome:
    """One run of one list of programs under one policy.

    Attributes:
        policy: as it was asked for, parameters included.
        seed: of the list of programs and their arrivals.
        capacity_tokens: KV memory of the engine; None if it had no limit.
        excluded: programs left out because one turn of theirs does not fit the memory.
        makespan_s: from the first arrival to the last end.
        backlog: (time, programs arrived and not ended) at a few evenly spaced times until the
            last arrival; empty in a closed loop.
        wall_s: real seconds the run took.
    """

    policy: str
    seed: int
    programs: list[ProgramOutcome]
    capacity_tokens: int | None
    excluded: int = 0
    makespan_s: float = 0.0
    backlog: list[tuple[float, int]] = field(default_factory=list)
    steps: int = 0
    wall_s: float = 0.0
    timeline: Timeline | None = None

    @property
    def jobs(self) -> list[ProgramOutcome]:
        """The programs that arrived by themselves; children are part of their parents."""
        return [program for program in self.programs if program.parent_id is None]
