"""Which programs a run has, and when they arrive: the same for every policy of a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class ProgramList:
    """The programs of one run.

    Attributes:
        programs: indices into the plans of the workload, in the order of arrival.
        arrival_s: one time per program; None where the next one arrives when another ends.
    """

    seed: int
    programs: tuple[int, ...]
    arrival_s: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.programs)


def drawn_list(available: int, wanted: int, seed: int) -> ProgramList:
    """Programs without arrivals: all of them shuffled, again and again until there are enough."""
    # A stream of its own: the list stays the same when the rate changes.
    rng = random.Random(f"programs {seed}")
    drawn: list[int] = []
    while len(drawn) < wanted:
        one_pass = list(range(available))
        rng.shuffle(one_pass)
        drawn += one_pass
    return ProgramList(seed, tuple(drawn[:wanted]))


def poisson_list(available: int, wanted: int, seed: int, *, rate: float) -> ProgramList:
    """The programs of `drawn_list`, arriving at random with `rate` per second on average.

    Another rate stretches the times and changes nothing else.
    """
    rng = random.Random(f"arrivals {seed}")
    times = accumulate(rng.expovariate(1.0) / rate for _ in range(wanted))
    return ProgramList(seed, drawn_list(available, wanted, seed).programs, tuple(times))


def recorded_list(arrival_s: Sequence[float], seed: int, wanted: int | None = None) -> ProgramList:
    """Programs in the order and at the times of a trace; time starts at the first arrival.

    Args:
        arrival_s: one time per program of the workload.
        wanted: only so many, the first ones; None for all.
    """
    order = sorted(range(len(arrival_s)), key=lambda index: arrival_s[index])[:wanted]
    start = arrival_s[order[0]]
    return ProgramList(seed, tuple(order), tuple(arrival_s[index] - start for index in order))
