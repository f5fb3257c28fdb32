"""Continuum's pin time from plain samples, against trying every recorded duration."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy.empirical import MAX_SAMPLES, EmpiricalDurations

# Whole milliseconds: equal durations are common, as on a clock with a grid.
samples = st.lists(st.integers(0, 50).map(lambda ms: ms / 1000), max_size=120)
gains = st.floats(0.0, 1.0)


def recorded(durations: list[float], tool: str = "a") -> EmpiricalDurations:
    empirical = EmpiricalDurations()
    for seconds in durations:
        empirical.observe(tool, seconds)
    return empirical


def worth(durations: list[float], ttl: float, gain: float) -> float:
    if not durations:
        return -ttl
    return gain * sum(seconds <= ttl for seconds in durations) / len(durations) - ttl


@given(durations=samples, gain=gains)
def test_the_best_ttl_beats_every_recorded_duration_and_zero(
    durations: list[float], gain: float
) -> None:
    ttl = recorded(durations).best_ttl("a", gain)
    assert ttl == 0.0 or ttl in durations
    best = max(worth(durations, other, gain) for other in [0.0, *durations])
    assert worth(durations, ttl, gain) == pytest.approx(best, abs=1e-12)


@given(durations=samples, seconds=st.floats(0.0, 0.06))
def test_the_cdf_counts_durations_up_to_a_value(durations: list[float], seconds: float) -> None:
    share = sum(each <= seconds for each in durations) / max(len(durations), 1)
    assert recorded(durations).cdf("a", seconds) == share


def test_of_equally_good_ttls_the_shortest_is_taken() -> None:
    # τ = 0 gives 0; τ = 1 gives 2·(1/2) − 1 = 0; τ = 2 gives 2 − 2 = 0.
    assert recorded([1.0, 2.0]).best_ttl("a", 2.0) == 0.0


def test_without_a_gain_or_without_history_nothing_is_pinned() -> None:
    empirical = recorded([1.0, 2.0])
    assert empirical.best_ttl("a", 0.0) == 0.0
    assert empirical.best_ttl("unknown", 100.0) == 0.0
    assert EmpiricalDurations().best_ttl(None, 100.0) == 0.0


def test_no_tool_named_means_all_tools() -> None:
    empirical = recorded([1.0] * 3)
    empirical.observe("b", 5.0)
    assert (empirical.count("a"), empirical.count("b"), empirical.count()) == (3, 1, 4)
    assert empirical.cdf(None, 2.0) == 0.75
    assert empirical.best_ttl(None, 100.0) == 5.0
    assert empirical.best_ttl("a", 100.0) == 1.0


def test_below_200_durations_every_one_counts_at_once_and_later_each_two_percent() -> None:
    empirical = EmpiricalDurations()
    for n in range(1, 200):
        empirical.observe("a", float(n))
        assert empirical.best_ttl("a", 1e6) == n
    empirical.observe("a", 200.0)
    assert empirical.best_ttl("a", 1e6) == 200.0
    for n in range(201, 204):
        empirical.observe("a", float(n))
        assert empirical.best_ttl("a", 1e6) == 200.0
    empirical.observe("a", 204.0)
    assert empirical.best_ttl("a", 1e6) == 204.0


def test_beyond_the_bound_the_oldest_durations_are_forgotten() -> None:
    empirical = recorded([9.0] * 100 + [1.0] * MAX_SAMPLES)
    assert empirical.count("a") == MAX_SAMPLES
    assert empirical.cdf("a", 1.0) == 1.0
    assert empirical.best_ttl("a", 100.0) == 1.0


def test_a_full_sample_still_learns() -> None:
    empirical = recorded([1.0] * MAX_SAMPLES)
    assert empirical.best_ttl("a", 100.0) == 1.0
    for _ in range(MAX_SAMPLES):
        empirical.observe("a", 2.0)
    assert empirical.best_ttl("a", 100.0) == 2.0


def test_beyond_the_bound_of_tools_the_one_observed_longest_ago_is_forgotten() -> None:
    empirical = EmpiricalDurations(max_tools=2)
    for tool in ("old", "kept", "old", "new"):
        empirical.observe(tool, 1.0)
    assert [empirical.count(tool) for tool in ("old", "kept", "new")] == [2, 0, 1]


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_duration_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="duration of tool 'a'"):
        EmpiricalDurations().observe("a", seconds)
