"""What the tool-duration statistics say about pauses of known shape."""

from __future__ import annotations

import itertools
import json
import math
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentrt_engine.errors import SettingError
from agentrt_engine.policy.durations import ToolDurations
from agentrt_engine.policy.histogram import EDGES_S, MAX_RATE

pauses = st.one_of(st.floats(0.0, 2e4), st.sampled_from(EDGES_S))
observations = st.lists(st.tuples(st.sampled_from("abc"), pauses, st.booleans()), max_size=80)


def learned(rows: list[tuple[str, float, bool]]) -> ToolDurations:
    durations = ToolDurations()
    for tool, seconds, censored in rows:
        durations.observe(tool, seconds, censored=censored)
    return durations


def of_one_tool(pauses: list[float]) -> ToolDurations:
    return learned([("a", pause, False) for pause in pauses])


def largest_rate(durations: ToolDurations, tool: str, elapsed: float) -> float:
    """max over a grid of τ of P(return ≤ e+τ | > e) / E[min(R − e, τ) | > e]."""
    parts = 8
    inside = [
        start + (end - start) * part / parts
        for start, end in itertools.pairwise(EDGES_S)
        for part in range(parts)
    ]
    tail = [EDGES_S[-1] * (1 + step / 20) for step in range(400)]
    grid = [elapsed] + [point for point in inside + tail if point > elapsed]
    survival = [1.0 - durations.cdf(tool, point) for point in grid]
    best = held = 0.0
    for i in range(1, len(grid)):
        held += (grid[i] - grid[i - 1]) * (survival[i] + survival[i - 1]) / 2
        best = max(best, (survival[0] - survival[i]) / held)
    return min(best, MAX_RATE)


@settings(max_examples=40, deadline=None)
@given(rows=observations, elapsed=pauses)
def test_the_return_rate_is_the_best_ratio_over_all_horizons(
    rows: list[tuple[str, float, bool]], elapsed: float
) -> None:
    # Just before an edge the best horizon is too short for a grid of differences of the CDF.
    assume(not any(0.0 < edge - elapsed < 1e-3 * edge for edge in EDGES_S))
    durations = learned(rows)
    expected = largest_rate(durations, "a", elapsed)
    assert durations.return_rate("a", elapsed) == pytest.approx(expected, rel=5e-3)


def test_exponential_pauses_return_at_one_rate_however_long_they_last() -> None:
    rng = random.Random(3)
    durations = of_one_tool([rng.expovariate(1 / 5.0) for _ in range(200_000)])
    # Between the edges the uniform density of a bin makes the rate rise a little, then fall back.
    for edge in EDGES_S:
        if 0.1 < edge < 20.0:
            assert durations.return_rate("a", edge) == pytest.approx(0.2, rel=0.07)
            assert durations.mean_remaining("a", edge) == pytest.approx(5.0, rel=0.07)


def test_bimodal_pauses_return_at_a_rate_that_falls_and_rises_again() -> None:
    rng = random.Random(3)
    short = [rng.uniform(0.4, 0.6) for _ in range(1_000)]
    long = [rng.uniform(90.0, 110.0) for _ in range(1_000)]
    durations = of_one_tool(short + long)
    at_start, between, at_end = (durations.return_rate("a", e) for e in (0.4, 2.0, 95.0))
    assert between < 0.02 < at_start
    assert between * 5 < at_end


@given(edge=st.sampled_from(EDGES_S), rows=observations)
def test_the_return_rate_is_continuous_from_the_right(
    edge: float, rows: list[tuple[str, float, bool]]
) -> None:
    durations = learned(rows)
    after = durations.return_rate("a", edge * (1 + 1e-9) + 1e-12)
    assert durations.return_rate("a", edge) == pytest.approx(after, rel=1e-4)


def test_censored_pauses_move_their_weight_to_longer_ones_as_kaplan_and_meier_do() -> None:
    # 4 pauses: 1 s, more than 2 s, 4 s, 8 s; each 10,000 times, which drowns the pseudo-counts.
    rows = [("a", 1.0, False), ("a", 2.0, True), ("a", 4.0, False), ("a", 8.0, False)]
    durations = learned(rows * 10_000)
    assert durations.cdf("a", 1.5) == pytest.approx(1 / 4, abs=1e-3)
    assert durations.cdf("a", 3.0) == pytest.approx(1 / 4, abs=1e-3)
    # 2 of 4 reach 4 s and half of them end there: S = 3/4 · 1/2.
    assert durations.cdf("a", 6.0) == pytest.approx(5 / 8, abs=1e-3)
    assert durations.cdf("a", 10.0) == pytest.approx(1.0, abs=1e-3)


def test_a_pause_beyond_the_last_edge_ends_at_the_mean_excess_seen_there() -> None:
    day = 86_400.0
    durations = of_one_tool([day] * 1_000)
    assert durations.mean_remaining("a", 3 * day) == pytest.approx(day - EDGES_S[-1], rel=0.01)
    assert durations.return_rate("a", 3 * day) == pytest.approx(1 / (day - EDGES_S[-1]), rel=0.01)


def test_censored_pauses_beyond_the_last_edge_lengthen_the_mean_excess() -> None:
    day = 86_400.0
    seen = learned([("a", day, False), ("a", day, True)] * 1_000)
    assert seen.mean_remaining("a", day) == pytest.approx(2 * (day - EDGES_S[-1]), rel=0.01)


def test_a_new_tool_has_the_shape_of_all_tools_and_leaves_it_as_it_learns() -> None:
    rng = random.Random(3)
    durations = of_one_tool([rng.uniform(9.0, 11.0) for _ in range(500)])
    assert durations.quantile("new", 0.5) == pytest.approx(10.0, rel=0.15)
    assert durations.count("new") == 0
    for _ in range(30):
        durations.observe("new", 0.1)
    assert durations.quantile("new", 0.5) == pytest.approx(0.1, rel=0.2)


def test_a_first_question_without_any_history_has_an_answer() -> None:
    durations = ToolDurations()
    assert 0 < durations.return_rate("a", 0.0) <= MAX_RATE
    assert durations.quantile("a", 0.0) == 0.0


def test_tables_follow_every_early_observation_and_later_each_two_percent() -> None:
    durations = of_one_tool([1.0] * 49)
    before = durations.cdf("a", 5.0)
    durations.observe("a", 10.0)
    assert durations.cdf("a", 5.0) < before

    durations = of_one_tool([1.0] * 1_000)
    before = durations.cdf("a", 5.0)
    for _ in range(19):
        durations.observe("a", 10.0)
    assert durations.cdf("a", 5.0) == before
    durations.observe("a", 10.0)
    assert durations.cdf("a", 5.0) < before


def test_the_tool_observed_longest_ago_is_forgotten_but_not_what_it_taught() -> None:
    durations = ToolDurations(max_tools=2)
    for tool in ("old", "kept", "old", "new"):
        durations.observe(tool, 1.0)
    assert [durations.count(tool) for tool in ("old", "kept", "new")] == [2, 0, 1]
    assert durations.count() == 4


@given(rows=observations, points=st.lists(pauses, min_size=2))
def test_the_cdf_rises(rows: list[tuple[str, float, bool]], points: list[float]) -> None:
    durations = learned(rows)
    values = [durations.cdf("a", point) for point in sorted(points)]
    assert values == sorted(values)
    assert all(0.0 <= value <= 1.0 for value in values)


@given(rows=observations, q=st.floats(0.0, 0.999), elapsed=st.floats(0.0, 5e3))
def test_the_quantile_inverts_the_cdf(
    rows: list[tuple[str, float, bool]], q: float, elapsed: float
) -> None:
    durations = learned(rows)
    seconds = durations.quantile("a", q, elapsed)
    assert seconds >= elapsed
    alive = 1.0 - durations.cdf("a", elapsed)
    assert durations.cdf("a", seconds) == pytest.approx(1.0 - alive * (1.0 - q), abs=1e-9)


@given(rows=observations, elapsed=st.floats(0.0, 1e9))
def test_rates_are_positive_and_finite_and_agree_with_the_mean(
    rows: list[tuple[str, float, bool]], elapsed: float
) -> None:
    durations = learned(rows)
    rate = durations.return_rate("a", elapsed)
    assert 0.0 < rate <= MAX_RATE
    # τ = ∞ is one of the horizons: the index is at least 1 / mean remaining.
    mean = durations.mean_remaining("a", elapsed)
    assert rate >= min(1.0 / mean, MAX_RATE) * (1 - 1e-9)


@given(rows=observations)
def test_a_restored_snapshot_is_the_original(rows: list[tuple[str, float, bool]]) -> None:
    durations = learned(rows)
    through_json = json.loads(json.dumps(durations.snapshot()))
    restored = ToolDurations.restore(through_json)
    assert restored.snapshot() == durations.snapshot()
    assert list(restored.snapshot()["tools"]) == list(durations.snapshot()["tools"])
    for elapsed in (0.0, 1.0, 1e4):
        assert restored.return_rate("a", elapsed) == durations.return_rate("a", elapsed)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"all": None},
        {"all": {"bins": [[72, 1, 0]], "excess_s": 0.0}},
        {"all": {"bins": [[0, -1, 0]], "excess_s": 0.0}},
        {"all": {"bins": [], "excess_s": math.nan}},
        {"tools": 3},
    ],
    ids=str,
)
def test_a_damaged_snapshot_is_refused(damage: dict[str, Any]) -> None:
    sound = of_one_tool([1.0]).snapshot()
    with pytest.raises(SettingError, match="saved tool durations are unusable"):
        ToolDurations.restore(sound | damage)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_duration_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="duration of tool 'a'"):
        ToolDurations().observe("a", seconds)


@pytest.mark.parametrize("q", [-0.1, 1.0, math.nan])
def test_a_quantile_outside_zero_to_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        ToolDurations().quantile("a", q)
