"""The divergence of two distributions of which the likeliest tokens are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from agentrt.lora.distribution import ROUNDING, TopTokens, kl_lower_bound
from agentrt.lora.divergence import Comparison, PairDivergence, compare

SIZE = 40

logits = st.lists(st.floats(-12, 12), min_size=SIZE, max_size=SIZE)
tops = st.integers(1, SIZE)


def log_softmax(values: Sequence[float]) -> list[float]:
    whole = math.log(math.fsum(map(math.exp, values)))
    return [value - whole for value in values]


def divergence(exact: Sequence[float], approximate: Sequence[float]) -> float:
    """KL over the whole vocabulary, of log-probabilities."""
    return math.fsum(math.exp(p) * (p - q) for p, q in zip(exact, approximate, strict=True))


def listed(log_probs: Sequence[float], top: int = SIZE) -> TopTokens:
    best = sorted(range(len(log_probs)), key=lambda token: -log_probs[token])
    return TopTokens({token: log_probs[token] for token in best[:top]})


@limits(max_examples=50)
@given(logits, logits)
def test_it_is_the_divergence_where_all_tokens_are_listed(
    one: list[float], other: list[float]
) -> None:
    exact, approximate = log_softmax(one), log_softmax(other)
    bound = kl_lower_bound(listed(exact), listed(approximate))
    assert bound == pytest.approx(max(0.0, divergence(exact, approximate)), abs=2e-9)


@limits(max_examples=50)
@given(logits, logits, tops, tops)
def test_it_is_never_more_than_the_divergence(
    one: list[float], other: list[float], top_one: int, top_other: int
) -> None:
    exact, approximate = log_softmax(one), log_softmax(other)
    bound = kl_lower_bound(listed(exact, top_one), listed(approximate, top_other))
    assert 0 <= bound <= divergence(exact, approximate) + ROUNDING


@limits(max_examples=50)
@given(logits, logits, tops)
def test_more_tokens_never_lower_it(one: list[float], other: list[float], top: int) -> None:
    exact, approximate = log_softmax(one), log_softmax(other)
    fewer = kl_lower_bound(listed(exact, top), listed(approximate, top))
    more = kl_lower_bound(listed(exact, SIZE), listed(approximate, SIZE))
    assert fewer <= more + ROUNDING


@limits(max_examples=50)
@given(logits, tops, tops)
def test_equal_distributions_are_not_apart(values: list[float], one: int, other: int) -> None:
    same = log_softmax(values)
    assert kl_lower_bound(listed(same, one), listed(same, other)) <= ROUNDING


def test_tokens_that_only_one_lists_count_with_the_others() -> None:
    exact = TopTokens({1: math.log(0.7), 2: math.log(0.2)})
    approximate = TopTokens({1: math.log(0.6), 3: math.log(0.3)})
    expected = 0.7 * math.log(0.7 / 0.6) + 0.3 * math.log(0.3 / 0.4)
    assert kl_lower_bound(exact, approximate) == pytest.approx(expected)


def test_certainty_against_certainty_is_large_and_finite() -> None:
    sure, otherwise = TopTokens({1: 0.0}), TopTokens({2: 0.0})
    assert kl_lower_bound(sure, sure) == 0
    assert kl_lower_bound(sure, otherwise) == 0  # nothing in common is known to both
    both = TopTokens({1: -30.0, 2: 0.0})
    assert 29 < kl_lower_bound(TopTokens({1: 0.0, 2: -30.0}), both) < 31


def test_of_equals_greedy_decoding_takes_the_lowest_id() -> None:
    assert TopTokens({9: -1.0, 4: -0.5, 3: -0.5}).best == 3


def row(*log_probs: float) -> TopTokens:
    return TopTokens(dict(enumerate(log_softmax(log_probs))))


def test_a_comparison_says_where_the_reply_changes_first() -> None:
    unshared = [row(2, 0), row(0, 2), row(1, 0), row(3, 0)]
    shared = [row(2, 0), row(2, 0), row(1, 0), row(0, 3)]
    found = compare(5, 100, 99, unshared, shared)
    assert (found.first_difference, found.agreeing) == (2, 2)
    assert [round(value, 6) for value in found.kl] == [
        0,
        round(2 * math.tanh(1), 6),
        0,
        round(3 * math.tanh(1.5), 6),
    ]
    assert compare(5, 100, 99, shared, shared).first_difference is None


def comparison(*kl: float, first: int | None = None, agreeing: int = 0) -> Comparison:
    return Comparison(0, 100, 75, kl, first, agreeing)


def test_figures_of_a_pair_are_over_all_its_tokens() -> None:
    pair = PairDivergence(
        "planner",
        "coder",
        (
            comparison(*[0.0] * 18, 0.5, first=19, agreeing=18),
            comparison(2.5, first=1),
            comparison(*[0.0] * 20, agreeing=20),
        ),
    )
    assert (pair.tokens, pair.reused, pair.changed, pair.first_difference) == (40, 0.75, 2, 1)
    assert pair.mean_kl == pytest.approx(3 / 40)
    assert pair.max_kl == 2.5
    assert [pair.kl_quantile(q) for q in (0.95, 0.96, 0.975, 1.0)] == [0.0, 0.5, 0.5, 2.5]
    assert pair.agreement == 38 / 40
