"""When a run counts as overloaded: on queues whose load is known."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.replay.overload import Stretch, grows, is_overloaded, theil_sen
from agentrt_engine.outcome import ProgramOutcome, RunOutcome

SEEDS = range(30)


def queue(seed: int, load: float, *, programs: int = 300, servers: int = 5) -> RunOutcome:
    """Programs with random arrivals that are served first come first served."""
    rng = random.Random(f"{seed} {load} {programs}")
    now_s, free_s = 0.0, [0.0] * servers
    served = []
    for index in range(programs):
        now_s += rng.expovariate(1.0)
        alone_s = rng.lognormvariate(-0.5, 1.0) * load * servers
        end_s = max(now_s, heapq.heappop(free_s)) + alone_s
        heapq.heappush(free_s, end_s)
        served.append(ProgramOutcome(f"{index}", "agent", now_s, end_s, isolated_s=alone_s))
    return RunOutcome("queue", seed, served, None, backlog=backlog(served))


def backlog(programs: list[ProgramOutcome]) -> list[tuple[float, int]]:
    times = [programs[-1].arrival_s * sample / 100 for sample in range(1, 101)]
    return [(at, sum(p.arrival_s <= at < (p.end_s or 0.0) for p in programs)) for at in times]


def share(load: float, *, programs: int = 300) -> float:
    """Of the seeds, those that count as overloaded."""
    return sum(is_overloaded(queue(s, load, programs=programs)) for s in SEEDS) / len(SEEDS)


@pytest.mark.parametrize(
    ("load", "least", "most"),
    [(0.3, 0, 0), (0.6, 0, 0.05), (0.8, 0, 0.2), (1.6, 0.9, 1), (2.5, 1, 1)],
)
def test_queues_beyond_capacity_are_told_from_those_below(
    load: float, least: float, most: float
) -> None:
    assert least <= share(load) <= most


def test_a_longer_run_tells_more() -> None:
    assert share(1.2, programs=1200) >= share(1.2, programs=100)
    assert share(1.2, programs=1200) >= 0.9
    assert share(0.8, programs=1200) <= 0.05


@given(st.integers(0, 1000), st.floats(0.2, 5.0))
def test_too_few_programs_tell_nothing(seed: int, load: float) -> None:
    assert not is_overloaded(queue(seed, load, programs=9))


def test_a_closed_loop_is_never_overloaded() -> None:
    run = queue(1, 2.5)
    run.backlog = []
    assert not is_overloaded(run)


def test_many_long_programs_that_do_not_wait_are_no_overload() -> None:
    programs = [
        ProgramOutcome(f"{index}", "agent", index * 1.0, index + 5000.0, isolated_s=5000.0)
        for index in range(300)
    ]
    run = RunOutcome("idle", 1, programs, None, backlog=backlog(programs))
    assert run.backlog[-1][1] == 300
    assert not is_overloaded(run)


def test_a_burst_that_takes_long_to_serve_is_an_overload() -> None:
    programs = [
        ProgramOutcome(f"{index}", "agent", 0.01 * index, 4.0 * (index + 1), isolated_s=4.0)
        for index in range(100)
    ]
    assert is_overloaded(RunOutcome("burst", 1, programs, None, backlog=backlog(programs)))
    for program in programs:
        program.end_s = program.arrival_s + 6.0
    assert not is_overloaded(RunOutcome("burst", 1, programs, None, backlog=backlog(programs)))


def test_a_jam_that_dissolves_is_no_overload() -> None:
    times = [float(at) for at in range(50)]
    excess = [max(0.0, 30.0 - at) for at in times]
    assert not grows(Stretch(times, excess, 100, 2.0), of=200)


def test_a_backlog_that_rises_steadily_is() -> None:
    times = [float(at) for at in range(50)]
    assert grows(Stretch(times, [0.5 * at for at in times], 100, 2.0), of=200)


def test_a_rise_that_would_soon_be_worked_off_is_none() -> None:
    times = [float(at) for at in range(50)]
    rising = [0.4 * at for at in times]
    assert grows(Stretch(times, rising, 100, 10.0), of=200)
    assert not grows(Stretch(times, rising, 100, 50.0), of=200)


def test_a_backlog_that_paused_by_chance_on_a_high_level_is_one() -> None:
    programs = [
        ProgramOutcome(f"{index}", "agent", 1.0 * index, index + 4.0, isolated_s=4.0)
        for index in range(400)
    ]
    for index, program in enumerate(programs):
        program.end_s = program.arrival_s + 4.0 + min(0.3 * index, 60.0)
    assert is_overloaded(RunOutcome("level", 1, programs, None, backlog=backlog(programs)))
    for index, program in enumerate(programs):
        program.end_s = program.arrival_s + 4.0 + min(0.3 * index, 6.0)
    assert not is_overloaded(RunOutcome("level", 1, programs, None, backlog=backlog(programs)))


@given(st.floats(-5, 5), st.floats(-100, 100), st.sets(st.integers(0, 39), max_size=8))
def test_the_slope_does_not_mind_outliers(slope: float, start: float, outliers: set[int]) -> None:
    times = [float(at) for at in range(40)]
    values = [start + slope * at for at in times]
    for at in outliers:
        values[at] += 1000.0
    assert theil_sen(times, values) == pytest.approx(slope, abs=1e-6)
