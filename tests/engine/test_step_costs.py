"""The cost model learned from an engine's steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from agentrt_engine.errors import SettingError
from agentrt_engine.least_squares import solve_nonnegative
from agentrt_engine.policy.protocol import Costs
from agentrt_engine.step_costs import StepCosts

CPU = Costs(fixed_s=27e-3, decode_s=4e-6, prefill_s=6e-4, position_s=8e-7, sequence_s=1.7e-3)
GPU = Costs(fixed_s=5.3e-3, decode_s=30e-9, prefill_s=19e-6, position_s=0.8e-9)

#: KV tokens, prefilled tokens, their positions, decoding turns.
Features = tuple[float, float, float, float]


def seconds(costs: Costs, step: Features) -> float:
    kv_tokens, tokens, positions, turns = step
    return (
        costs.fixed_s
        + costs.decode_s * kv_tokens
        + costs.sequence_s * turns
        + costs.prefill_s * tokens
        + costs.position_s * positions
    )


def decode(random: Random) -> Features:
    turns = random.randint(1, 16)
    return turns * random.uniform(50, 2000), 0, 0, turns


def prefill(random: Random) -> Features:
    tokens, first = random.randint(10, 2000), random.randint(0, 4000)
    return 0, tokens, tokens * first + tokens * (tokens - 1) / 2, 0


def mixed(random: Random) -> Features:
    kv_tokens, _, _, turns = decode(random)
    _, tokens, positions, _ = prefill(random)
    return kv_tokens, tokens, positions, turns


def steps(
    costs: Costs, number: int, *, seed: int = 1, noise: float = 0.1, stalls: float = 0.0
) -> Iterator[tuple[float, Features]]:
    """Steps of all kinds and what they took."""
    random = Random(seed)
    for _ in range(number):
        step = random.choice([decode, decode, prefill, mixed])(random)
        took = seconds(costs, step) * max(0.3, random.gauss(1, noise))
        yield took * (50 if random.random() < stalls else 1), step


def learned(prior: Costs, seen: Iterator[tuple[float, Features]]) -> StepCosts:
    model = StepCosts(prior)
    for took, step in seen:
        model.observe(took, *step)
    return model


def coefficients(costs: Costs) -> list[float]:
    return [
        costs.fixed_s, costs.decode_s, costs.sequence_s, costs.prefill_s, costs.position_s,
    ]  # fmt: skip


@limits(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scales=st.tuples(*[st.floats(0.2, 5)] * 5),
    prior=st.sampled_from([CPU, GPU]),
)
def test_it_finds_the_coefficients_behind_noisy_steps(
    seed: int, scales: tuple[float, ...], prior: Costs
) -> None:
    fixed, decoding, sequence, token, position = (
        scale * value for scale, value in zip(scales, coefficients(CPU), strict=True)
    )
    truth = Costs(fixed, decoding, token, position, sequence_s=sequence)
    found = learned(prior, steps(truth, 4000, seed=seed, noise=0.05)).costs()
    # Judged by what it says about whole steps: a small coefficient is not seen through the noise.
    random = Random(seed + 1)
    for kind in (decode, prefill, mixed):
        for _ in range(20):
            step = kind(random)
            assert seconds(found, step) == pytest.approx(seconds(truth, step), rel=0.05)


def test_each_coefficient_is_found_within_a_few_percent() -> None:
    found = learned(GPU, steps(CPU, 6000, noise=0.05)).costs()
    assert coefficients(found) == pytest.approx(coefficients(CPU), rel=0.05)


def test_without_noise_some_dozens_of_steps_of_each_kind_are_enough() -> None:
    found = learned(CPU, steps(GPU, 150, noise=0.0)).costs()
    random = Random(5)
    for kind in (decode, prefill, mixed):
        step = kind(random)
        assert seconds(found, step) == pytest.approx(seconds(GPU, step), rel=0.25)


def test_before_any_step_and_where_no_step_says_anything_it_is_the_prior() -> None:
    model = StepCosts(CPU)
    assert model.costs() == CPU
    random = Random(2)
    for _ in range(500):
        step = decode(random)
        model.observe(2 * seconds(CPU, step), *step)
    found = model.costs()
    assert (found.prefill_s, found.position_s) == (CPU.prefill_s, CPU.position_s)
    assert found.decode_s == pytest.approx(2 * CPU.decode_s, rel=0.05)


def test_a_batch_that_never_changes_is_predicted_although_its_parts_are_not_known() -> None:
    model = StepCosts(GPU)
    for _ in range(300):
        model.observe(0.05, 4000.0, 0, 0, 4)
    assert seconds(model.costs(), (4000.0, 0, 0, 4)) == pytest.approx(0.05, rel=0.02)


def test_stalls_move_it_little() -> None:
    calm = learned(CPU, steps(CPU, 2000)).costs()
    disturbed = learned(CPU, steps(CPU, 2000, stalls=0.02)).costs()
    assert coefficients(disturbed) == pytest.approx(coefficients(calm), rel=0.05)
    model = learned(CPU, steps(CPU, 200))
    before = model.costs()
    model.observe(50 * seconds(CPU, (4000.0, 0, 0, 4)), 4000.0, 0, 0, 4)
    for took, step in steps(CPU, 300, seed=9, noise=0.0):
        model.observe(took, *step)
    assert model.costs().fixed_s == pytest.approx(before.fixed_s, rel=0.05)


def test_a_stall_in_the_first_step_is_soon_forgotten() -> None:
    model = StepCosts(CPU)
    model.observe(50 * seconds(CPU, (4000.0, 0, 0, 4)), 4000.0, 0, 0, 4)
    for took, step in steps(CPU, 40, noise=0.0):
        model.observe(took, *step)
    step = (4000.0, 0.0, 0.0, 4.0)
    assert seconds(model.costs(), step) == pytest.approx(seconds(CPU, step), rel=0.1)


def test_it_follows_an_engine_that_becomes_slower() -> None:
    model = StepCosts(CPU, half_life_steps=300)
    for slower in (1, 3):
        for took, step in steps(CPU, 3000, seed=slower):
            model.observe(slower * took, *step)
    assert coefficients(model.costs()) == pytest.approx(
        [3 * value for value in coefficients(CPU)], rel=0.2
    )


def test_decoding_for_long_does_not_erase_what_prefill_costs() -> None:
    model = StepCosts(GPU, half_life_steps=100)
    for took, step in steps(CPU, 2000, noise=0.0):
        model.observe(took, *step)
    random = Random(3)
    for _ in range(5000):
        step = decode(random)
        model.observe(seconds(CPU, step), *step)
    found = model.costs()
    assert found.prefill_s == pytest.approx(CPU.prefill_s, rel=0.05)
    assert found.position_s == pytest.approx(CPU.position_s, rel=0.05)


numbers = st.floats(0, 1e7) | st.sampled_from([0.0, 1.0, 1e-9])


@given(
    seen=st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True), numbers, numbers, numbers, numbers
        ),
        max_size=40,
    )
)
def test_whatever_steps_it_is_told_of_no_coefficient_is_negative(
    seen: list[tuple[float, float, float, float, float]],
) -> None:
    model = StepCosts(GPU)
    for step in seen:
        model.observe(*step)
        assert all(0 <= value < inf for value in coefficients(model.costs()))


def test_the_same_steps_give_the_same_costs() -> None:
    first, second = (learned(GPU, steps(CPU, 500)) for _ in range(2))
    assert first.costs() == second.costs()
    assert first.snapshot() == second.snapshot()


@limits(max_examples=20, deadline=None)
@given(number=st.integers(0, 400), more=st.integers(0, 100))
def test_restored_it_goes_on_as_if_it_had_not_stopped(number: int, more: int) -> None:
    model = StepCosts(GPU, prior_steps=5, half_life_steps=50)
    for took, step in steps(CPU, number):
        model.observe(took, *step)
    again = StepCosts.restore(json.loads(json.dumps(model.snapshot())))
    assert again.costs() == model.costs()
    assert again.steps == number
    for took, step in steps(CPU, more, seed=2):
        model.observe(took, *step)
        again.observe(took, *step)
    assert again.costs() == model.costs()


def test_what_it_does_not_learn_stays_as_given() -> None:
    prior = replace(GPU, host_s=1e-6, host_latency_s=1e-4)
    model = learned(prior, steps(CPU, 100))
    for each in (model, StepCosts.restore(model.snapshot())):
        assert (each.costs().host_s, each.costs().host_latency_s) == (1e-6, 1e-4)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 99},
        {"steps": -1},
        {"steps": True},
        {"spread": "wide"},
        {"coefficients": [1.0, 2.0]},
        {"coefficients": [1.0, 2.0, 3.0, 4.0, float("nan")]},
        {"prior": {"fixed_s": -1.0}},
        {"prior": {"unheard_of": 1.0}},
        {"prior": [1.0]},
        {"decode": {"growth": 1.0}},
        {"prefill": {"growth": 1.0, "steps": 1.0, "squares": [1e300] * 15, "products": [0.0] * 5}},
    ],
)
def test_damaged_statistics_are_refused(damage: dict[str, Any]) -> None:
    sound = learned(GPU, steps(CPU, 50)).snapshot()
    with pytest.raises(SettingError, match="saved step costs are unusable: "):
        StepCosts.restore(sound | damage)
    with pytest.raises(SettingError, match="saved step costs are unusable: "):
        StepCosts.restore({key: sound[key] for key in sound if key not in damage})


small = st.floats(-10, 10)


@given(
    rows=st.lists(st.tuples(small, small, small, small), min_size=1, max_size=8),
    right=st.lists(small, min_size=8, max_size=8),
)
def test_a_nonnegative_solution_cannot_be_improved_by_any_change(
    rows: list[tuple[float, float, float, float]], right: list[float]
) -> None:
    matrix = [[sum(row[i] * row[j] for row in rows) for j in range(4)] for i in range(4)]
    target = [sum(row[i] * y for row, y in zip(rows, right, strict=False)) for i in range(4)]
    found = solve_nonnegative(matrix, target)
    assert all(value >= 0 for value in found)

    def loss(x: list[float]) -> float:
        return sum(
            (sum(a * b for a, b in zip(row, x, strict=True)) - y) ** 2
            for row, y in zip(rows, right, strict=False)
        )

    least = loss(found)
    for index in range(4):
        for change in (-0.1, -1e-3, 1e-3, 0.1):
            other = list(found)
            other[index] = max(0.0, other[index] + change)
            assert loss(other) >= least - 1e-6 * (1 + least)


def test_an_earlier_solution_as_a_start_leads_to_the_same() -> None:
    matrix, right = [[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]], [1.0, -2.0, 0.0]
    for guess in ([], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.0, 0.0]):
        assert solve_nonnegative(matrix, right, guess) == pytest.approx([0.5, 0.0, 0.0])
