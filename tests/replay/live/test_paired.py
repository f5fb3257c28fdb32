"""Ratios of pairs and their intervals."""

from __future__ import annotations

import random

import pytest

from agentrt.replay.live.paired import paired_ratio


def test_the_median_of_the_ratios_of_pairs() -> None:
    found = paired_ratio([1.0, 2.0, 4.0], [0.5, 1.0, 4.0])
    assert found is not None
    assert (found.median, found.pairs, found.left_out) == (0.5, 3, 0)
    assert (found.low, found.high) == (0.5, 1.0)


def test_it_is_the_same_whenever_it_is_computed() -> None:
    rng = random.Random(1)
    first = [rng.uniform(1, 2) for _ in range(10)]
    other = [rng.uniform(1, 2) for _ in range(10)]
    assert paired_ratio(first, other) == paired_ratio(first, other)


def test_the_interval_holds_the_truth_in_about_95_of_100_cases() -> None:
    rng = random.Random(5)
    held = 0
    for _ in range(60):
        first = [rng.uniform(1, 2) for _ in range(12)]
        other = [value * rng.lognormvariate(-0.5, 0.2) for value in first]
        found = paired_ratio(first, other)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.6065 <= found.high
    assert held >= 54


def test_one_pair_has_no_interval() -> None:
    found = paired_ratio([2.0], [3.0])
    assert found is not None
    assert (found.median, found.low, found.high) == (1.5, None, None)


def test_pairs_without_a_value_are_left_out() -> None:
    found = paired_ratio([1.0, None, 1.0], [None, 1.0, 2.0])
    assert found is not None
    assert (found.median, found.pairs, found.left_out) == (2.0, 1, 2)
    assert paired_ratio([None], [1.0]) is None


@pytest.mark.parametrize("value", [0, 0.0])
def test_nothing_is_divided_by_nothing(value: float) -> None:
    assert paired_ratio([value], [1.0]) is None
