"""What a client's quantiles say of a pause."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentrt_engine.policy import Expectation
from agentrt_engine.policy.histogram import EDGES_S, MAX_RATE

quantiles = st.dictionaries(
    st.floats(0.001, 0.999), st.floats(0.0, 1e6), min_size=1, max_size=5
).map(lambda given: dict(zip(sorted(given), sorted(given.values()), strict=True)))
elapsed = st.one_of(st.floats(0.0, 1e6), st.sampled_from(EDGES_S))


@given(given_s=quantiles)
def test_the_quantiles_are_those_that_were_given(given_s: dict[float, float]) -> None:
    expected = Expectation.of(given_s)
    for q, seconds in given_s.items():
        assert expected.quantile(q) == pytest.approx(min(max(seconds, 1e-3), 604_800.0))


@given(given_s=quantiles, qs=st.lists(st.floats(0.0, 0.9999), min_size=2).map(sorted))
def test_quantiles_rise(given_s: dict[float, float], qs: list[float]) -> None:
    expected = Expectation.of(given_s)
    for lower, higher in itertools.pairwise(qs):
        assert expected.quantile(lower) <= expected.quantile(higher) * (1 + 1e-12)


@given(given_s=quantiles, seconds=elapsed)
def test_rates_are_positive_and_bounded(given_s: dict[float, float], seconds: float) -> None:
    assert 0.0 < Expectation.of(given_s).return_rate(seconds) <= MAX_RATE


def test_a_pause_of_one_known_length_returns_at_about_one_in_that() -> None:
    for median_s in (0.1, 2.0, 60.0):
        rate = Expectation.of({0.5: median_s}).return_rate(0.0)
        assert 0.3 / median_s < rate < 1.1 / median_s


def test_a_pause_that_outlasts_what_was_said_returns_ever_more_slowly() -> None:
    expected = Expectation.of({0.5: 2.0, 0.95: 30.0})
    rates = [expected.return_rate(seconds) for seconds in (60.0, 120.0, 300.0, 1000.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.01 * expected.return_rate(0.0)


@given(
    given_s=quantiles,
    seconds=elapsed,
    share=st.sampled_from([1.0, 0.1]),
    floor=st.sampled_from([0.0, 0.01, 1.0, math.inf]),
    ceiling=st.sampled_from([0.0, 0.01, 1.0, math.inf]),
    at=st.floats(0, 1),
)
def test_the_rate_stays_within_its_bounds_until_they_end(
    given_s: dict[float, float],
    seconds: float,
    share: float,
    floor: float,
    ceiling: float,
    at: float,
) -> None:
    expected = Expectation.of(given_s)
    least, most, end = expected.rate_bounds(seconds, share, floor, ceiling)
    assert end > seconds
    later = seconds + at * (min(end, 20 * seconds + 1) - seconds)
    assume(later < end)
    assert least <= expected.return_rate(later) <= most


@given(given_s=quantiles, floor=st.floats(1e-6, 200.0), at=st.floats(0, 1))
def test_the_rate_stays_at_the_floor_until_it_falls_below(
    given_s: dict[float, float], floor: float, at: float
) -> None:
    expected = Expectation.of(given_s)
    until = expected.returns_at(floor)
    if until < math.inf:
        assert expected.return_rate(until) < floor
    if until > 0:
        before = at * min(until, 1e5)
        assume(before < until)
        assert expected.return_rate(before) >= floor * (1 - 1e-9)


def test_equal_quantiles_are_one_expectation() -> None:
    assert Expectation.of({0.5: 2, 0.9: 5}) is Expectation.of({0.9: 5.0, 0.5: 2.0})


def test_the_best_ttl_covers_what_is_worth_its_wait() -> None:
    expected = Expectation.of({0.5: 2.0, 0.9: 30.0})
    assert [expected.best_ttl(gain) for gain in (3.0, 5.0, 60.0, 80.0)] == [0.0, 2.0, 2.0, 30.0]


@pytest.mark.parametrize(
    ("given_s", "message"),
    [
        ({}, "no quantile: expected at least one"),
        ({0.0: 1.0}, "quantile 0.0: expected a number above 0 and below 1"),
        ({1.0: 1.0}, "quantile 1.0: expected"),
        ({float("nan"): 1.0}, "quantile nan: expected"),
        ({0.5: -1.0}, "quantile 0.5: -1.0: expected seconds, 0 or more"),
        ({0.5: float("inf")}, "quantile 0.5: inf: expected seconds"),
        ({0.5: 3.0, 0.9: 2.0}, "quantile 0.9: 2.0 s is less than a smaller quantile"),
    ],
)
def test_impossible_quantiles_are_refused(given_s: dict[float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Expectation.of(given_s)


@pytest.mark.parametrize("q", [5e-324, 1e-300, 1 - 2**-53])
def test_extreme_probabilities_do_no_harm(q: float) -> None:
    expected = Expectation.of({q: 5.0})
    assert 0.0 < expected.return_rate(1.0) <= MAX_RATE
    assert expected.quantile(0.5) >= 0.0
