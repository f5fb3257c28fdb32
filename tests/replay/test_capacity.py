"""The search for the largest rate, and what it finds on a small engine."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.replay.capacity import Capacity, Search, engines_needed, find_capacity, largest
from agentrt.replay.matrix import Simulation
from agentrt.replay.replay_settings import SimulatedSettings
from agentrt.replay.workload import make_workload
from agentrt_engine.simulated.profile import load_profile
from tests.replay.workloads import agents, trace_of

# --------------------------------------------------------------------- search


@given(
    st.floats(-4, 4).map(lambda exponent: 10.0**exponent),
    st.floats(-1, 1).map(lambda exponent: 10.0**exponent),
    st.floats(0.001, 0.5),
)
def test_the_largest_value_is_found_to_the_tolerance(
    limit: float, off: float, tolerance: float
) -> None:
    found = largest(lambda value: value <= limit, limit * off, tolerance)
    assert found is not None
    assert found <= limit <= found * (1 + tolerance) * (1 + 1e-9)


@given(st.floats(0.01, 0.5))
def test_few_values_are_tried(tolerance: float) -> None:
    tried: list[float] = []

    def holds(value: float) -> bool:
        tried.append(value)
        return value <= 3.0

    largest(holds, 1.0, tolerance)
    assert len(tried) <= 3 + math.ceil(math.log2(math.log(2) / math.log(1 + tolerance)) + 1)


def test_nothing_holds() -> None:
    assert largest(lambda value: False, 1.0, 0.05) is None


def test_everything_holds() -> None:
    found = largest(lambda value: True, 1.0, 0.05)
    assert found is not None
    assert found > 1000


# ------------------------------------------------------------------ simulated


@cache
def search(policy: str = "lru", kv_tokens: int = 12_000) -> Search:
    with TemporaryDirectory() as folder:
        trace = trace_of(Path(folder), agents(12))
    settings = SimulatedSettings(load_profile("llama-3.1-8b-h200"), kv_tokens=kv_tokens)
    workload = make_workload(trace, kv_tokens=kv_tokens, page=16, pause_cap_s=None)
    simulation = Simulation(workload.plans, settings.engine())
    return Search(policy, simulation, programs=150, seeds=(1, 2), factor=2.0, tolerance=0.1)


@cache
def capacity(policy: str = "lru", kv_tokens: int = 12_000) -> Capacity:
    return find_capacity(None, search(policy, kv_tokens), lambda done: None)


def test_the_next_rate_above_a_stable_one_is_not_stable() -> None:
    found = capacity()
    assert found.stable_rate is not None
    above = [probe.rate for probe in found.probes if not probe.stable]
    assert any(found.stable_rate < rate <= found.stable_rate * 1.1001 for rate in above)
    assert [probe.stable for probe in found.probes if probe.rate == found.stable_rate] == [True]


def test_the_mean_time_is_within_the_factor_at_its_rate_and_not_above() -> None:
    found = capacity()
    assert found.factor_rate is not None
    assert found.stable_rate is not None
    assert found.factor_rate <= found.stable_rate
    probe = next(probe for probe in found.probes if probe.rate == found.factor_rate)
    assert probe.jct_mean_s <= 2.0 * probe.isolated_mean_s


def test_a_tighter_factor_permits_less() -> None:
    tight = find_capacity(None, replace(search(), factor=1.05), lambda done: None)
    loose = capacity().factor_rate
    assert loose is not None
    assert tight.factor_rate is None or tight.factor_rate <= loose


def test_more_memory_sustains_more() -> None:
    small, large = capacity(), capacity(kv_tokens=100_000)
    assert small.stable_rate is not None
    assert large.stable_rate is not None
    assert large.stable_rate > 1.2 * small.stable_rate


def test_a_search_repeats_itself_and_reports_what_it_tried() -> None:
    reported: list[int] = []
    again = find_capacity(None, search(), reported.append)
    assert again == capacity()
    assert reported == list(range(1, len(again.probes) + 1))


@pytest.mark.parametrize(("target", "engines"), [(0.01, 1), (0.5, 1), (0.51, 2), (5.0, 10)])
def test_engines_for_a_fleet_are_rounded_up(target: float, engines: int) -> None:
    assert engines_needed(target, replace(capacity(), stable_rate=0.5)) == engines


def test_a_policy_without_a_stable_rate_needs_no_number_of_engines() -> None:
    assert engines_needed(1.0, replace(capacity(), stable_rate=None)) is None
