"""The largest rates of arrivals that an engine sustains, found by bisection in simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

from agentrt.replay.matrix import Run, Simulation, run_one
from agentrt.replay.overload import is_overloaded
from agentrt.replay.parallel import Report
from agentrt.replay.program_list import poisson_list

#: Doublings or halvings from the first guess before a search gives up.
MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for one policy on one size of memory.

    Attributes:
        programs: of each seed's list.
        factor: the mean completion time may be this many times the mean time alone.
        tolerance: the largest rate is known to this part of itself.
    """

    policy: str
    simulation: Simulation
    programs: int
    seeds: tuple[int, ...]
    factor: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Probe:
    """One rate tried, programs per second, over all seeds."""

    rate: float
    stable: bool
    jct_mean_s: float
    isolated_mean_s: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search found.

    Attributes:
        stable_rate: programs per second at which no seed's backlog grew; the next rate that was
            tried, larger by the tolerance at most, is overloaded. None if every rate was.
        factor_rate: of the stable ones, at which the mean time is within the factor; None if
            none is.
        jct_mean_s, isolated_mean_s: at `stable_rate`, or at the least rate tried without one.
        probes: everything that was tried, by rate.
    """

    policy: str
    kv_tokens: int
    excluded: int
    stable_rate: float | None
    factor_rate: float | None
    jct_mean_s: float
    isolated_mean_s: float
    probes: list[Probe] = field(default_factory=list)


def find_capacity(_shared: None, search: Search, report: Report) -> Capacity:
    """Search for both rates; reports how many rates were tried."""
    probes: dict[float, Probe] = {}

    def probe(rate: float) -> Probe:
        if rate not in probes:
            probes[rate] = _try(search, rate)
            report(len(probes))
        return probes[rate]

    stable = largest(lambda rate: probe(rate).stable, _first_guess(search), search.tolerance)
    close = None
    if stable is not None:
        close = largest(
            lambda rate: rate <= stable and _is_close(probe(rate), search.factor),
            stable,
            search.tolerance,
        )
    tried = sorted(probes.values(), key=lambda probe: probe.rate)
    at = tried[0] if stable is None else probes[stable]
    return Capacity(
        policy=search.policy,
        kv_tokens=search.simulation.settings.kv_tokens,
        excluded=search.simulation.excluded,
        stable_rate=stable,
        factor_rate=close,
        jct_mean_s=at.jct_mean_s,
        isolated_mean_s=at.isolated_mean_s,
        probes=tried,
    )


def largest(holds: Callable[[float], bool], guess: float, tolerance: float) -> float | None:
    """The largest value for which something holds that stops holding somewhere above.

    Doubles or halves `guess` until two values bracket the place, then bisects in the logarithm.

    Returns:
        a value for which it holds, while it does not for one larger by `tolerance` at most; None
        if it holds for no value tried; the last value tried if it never stopped to hold.
    """
    low = high = guess
    if holds(guess):
        for _ in range(MOST_DOUBLINGS):
            high = 2 * low
            if not holds(high):
                break
            low = high
        else:
            return low
    else:
        for _ in range(MOST_DOUBLINGS):
            low = high / 2
            if holds(low):
                break
            high = low
        else:
            return None
    while high > low * (1 + tolerance):
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def engines_needed(target_rate: float, capacity: Capacity) -> int | None:
    """Engines for a fleet whose programs arrive at `target_rate`, evenly spread over them."""
    if capacity.stable_rate is None:
        return None
    return math.ceil(target_rate / capacity.stable_rate)


def _is_close(probe: Probe, factor: float) -> bool:
    return probe.stable and probe.jct_mean_s <= factor * probe.isolated_mean_s


def _try(search: Search, rate: float) -> Probe:
    plans = search.simulation.plans
    outcomes = [
        run_one(
            search.simulation,
            Run(
                search.policy,
                poisson_list(len(plans), search.programs, seed, rate=rate),
            ),
            _ignore,
        )
        for seed in search.seeds
    ]
    programs = [program for run in outcomes for program in run.jobs]
    return Probe(
        rate=rate,
        stable=not any(map(is_overloaded, outcomes)),
        jct_mean_s=fmean(program.jct_s or 0.0 for program in programs),
        isolated_mean_s=fmean(program.isolated_s for program in programs),
    )


def _first_guess(search: Search) -> float:
    """The rate at which the prompts' new tokens and the outputs alone would keep it busy."""
    costs, chunk = search.simulation.settings.costs, search.simulation.settings.chunk_tokens
    work = [
        costs.prefill(turn.reusable_tokens, turn.input_tokens)
        + costs.fixed_s * (turn.input_tokens - turn.reusable_tokens) / chunk
        + costs.decode_s * turn.output_tokens * turn.input_tokens
        + costs.sequence_s * turn.output_tokens
        for plan in search.simulation.plans
        for turn in plan.turns
    ]
    return len(search.simulation.plans) / sum(work) / 2


def _ignore(_done: int) -> None:
    pass
