"""The additive regression on functions it can and cannot represent."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy.additive import FIRST_BUILD, LINEAR, MAX_ROWS, AdditiveRegression

numbers = st.floats(-1e6, 1e6)
rows = st.lists(st.tuples(st.lists(numbers, min_size=2, max_size=2), numbers), max_size=100)


def learned(count: int, max_knots: int = 6, ridge: float = 0.1) -> AdditiveRegression:
    """One that has seen |x| + 2·y, x in [−1, 1], y in [0, 1], beside a feature of no use."""
    rng = random.Random(5)
    regression = AdditiveRegression(3, ridge, max_knots)
    for _ in range(count):
        x, y = rng.uniform(-1, 1), rng.random()
        regression.learn([x, y, 7.0], abs(x) + 2 * y)
    return regression


def test_a_sum_of_bent_functions_is_learned() -> None:
    regression = learned(1_000)
    for x in (-0.9, -0.5, 0.5, 0.9):
        for y in (0.1, 0.9):
            assert regression.predict([x, y, 7.0]) == pytest.approx(abs(x) + 2 * y, abs=0.1)


def test_with_two_knots_the_functions_are_straight() -> None:
    regression = learned(1_000, LINEAR)
    low, middle, high = (regression.predict([x, 0.5, 7.0]) for x in (-0.9, 0.0, 0.9))
    assert middle == pytest.approx((low + high) / 2, abs=1e-9)
    assert regression.predict([0.0, 0.9, 7.0]) - middle == pytest.approx(0.8, abs=0.1)


def test_beyond_what_was_seen_a_function_is_constant() -> None:
    regression = learned(1_000)
    assert regression.predict([1.0, 50.0, 7.0]) == pytest.approx(3.0, abs=0.1)


def test_a_feature_that_never_varied_has_no_say() -> None:
    regression = learned(1_000)
    assert regression.predict([0.5, 0.5, 7.0]) == regression.predict([0.5, 0.5, -100.0])


def test_few_rows_say_nothing_and_a_large_penalty_says_the_mean() -> None:
    assert learned(FIRST_BUILD - 1).predict([1.0, 1.0, 7.0]) == 0.0
    assert learned(FIRST_BUILD).predict([1.0, 1.0, 7.0]) != 0.0
    assert learned(1_000, ridge=1e9).predict([1.0, 1.0, 7.0]) == pytest.approx(1.5, abs=0.1)


def test_what_is_older_than_the_rows_held_is_forgotten() -> None:
    regression = AdditiveRegression(1, 0.1)
    for target in [0.0] * MAX_ROWS + [5.0] * 2 * MAX_ROWS:
        for x in (0.0, 1.0):
            regression.learn([x], target)
    assert regression.predict([0.0]) == pytest.approx(5.0)


@given(rows=rows, question=st.lists(numbers, min_size=2, max_size=2))
def test_any_rows_give_a_finite_answer(
    rows: list[tuple[list[float], float]], question: list[float]
) -> None:
    regression = AdditiveRegression(2, 1.0)
    for features, target in rows:
        regression.learn(features, target)
    assert math.isfinite(regression.predict(question))
