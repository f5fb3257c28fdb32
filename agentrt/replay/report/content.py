"""What a report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentrt_engine.outcome import RunOutcome


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One policy with a fixed number of programs always active.

    Attributes:
        concurrency: active programs.
        throughput_per_1000_s: programs ended per 1,000 seconds, one value per seed.
        hit_rate: reusable prompt tokens found in the cache, 0 to 1, one value per seed.
    """

    policy: str
    concurrency: int
    throughput_per_1000_s: list[float]
    hit_rate: list[float]


@dataclass(frozen=True, slots=True)
class ReportContent:
    """A replay, as its report shows it.

    Attributes:
        document: the result, in the shape of `agentrt.replay.v1`.
        runs: one per policy and seed; a timeline is needed on one of each policy at most.
        sweep: empty when no sweep was asked for.
    """

    document: dict[str, Any]
    runs: list[RunOutcome]
    sweep: list[SweepPoint]
