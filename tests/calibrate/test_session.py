"""Measuring a server in virtual time, and the fit of what was measured."""

from __future__ import annotations

from dataclasses import astuple, replace

import anyio
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from agentrt.calibrate.fit import fit_costs, quality
from agentrt.calibrate.session import Session
from agentrt.calibrate.sizes import QUICK, USUAL, choose_sizes
from agentrt.calibrate.target import ServerFacts
from agentrt.calibrate.work import Kind, Measurement
from agentrt.errors import CalibrationError
from tests.calibrate.virtual_target import COSTS, VirtualTarget, facts, scaled


def measured(
    target: VirtualTarget, server: ServerFacts | None = None, *, quick: bool = False, seed: int = 1
) -> tuple[list[Measurement], Session]:
    session = Session(
        target, server or facts(), QUICK if quick else USUAL, seed=seed, clock=target.clock
    )
    return anyio.run(session.measure), session


def of_kind(measurements: list[Measurement], kind: Kind) -> list[Measurement]:
    return [each for each in measurements if each.case.kind is kind]


@pytest.mark.parametrize("quick", [False, True])
def test_the_costs_of_a_server_that_follows_the_model_are_found(quick: bool) -> None:
    measurements, session = measured(VirtualTarget(), quick=quick)
    fit = fit_costs(measurements)
    assert astuple(fit) == pytest.approx(astuple(COSTS), rel=0.01)
    assert quality(fit, measurements).worst < 0.01
    assert session.notes == []


@pytest.mark.parametrize("quick", [False, True])
def test_whether_prefill_and_decode_share_a_step_is_found(quick: bool) -> None:
    costs = replace(COSTS, mixed_steps=False)
    measurements, _ = measured(VirtualTarget(costs), quick=quick)
    fit = fit_costs(measurements)
    assert astuple(fit) == pytest.approx(astuple(costs), rel=0.01)
    assert quality(fit, measurements).worst < 0.01


@limits(max_examples=8, deadline=None)
@given(scales=st.tuples(*[st.floats(0.1, 10)] * 6), seed=st.integers(0, 100))
def test_it_predicts_noisy_servers_within_a_few_percent(
    scales: tuple[float, ...], seed: int
) -> None:
    costs = scaled(*scales)
    measurements, _ = measured(VirtualTarget(costs, noise=0.03, stalls=0.002), seed=seed)
    fit = fit_costs(measurements)
    for each in measurements:
        assert fit.predict(each.work) == pytest.approx(costs.predict(each.work), rel=0.15)


def test_a_measurement_that_was_disturbed_moves_the_fit_little() -> None:
    measurements, _ = measured(VirtualTarget())
    for disturbed in range(0, len(measurements), 3):
        changed = list(measurements)
        changed[disturbed] = replace(changed[disturbed], seconds=3 * changed[disturbed].seconds)
        assert astuple(fit_costs(changed)) == pytest.approx(astuple(COSTS), rel=0.1)


def test_each_kind_is_measured_at_several_sizes() -> None:
    measurements, _ = measured(VirtualTarget())
    assert len(of_kind(measurements, Kind.PREFILL)) >= 6
    assert len(of_kind(measurements, Kind.EXTEND)) == 4
    decodes = of_kind(measurements, Kind.DECODE)
    assert {each.case.batch for each in decodes} == {1, 2, 4, 8, 16}
    assert len({each.case.context for each in decodes}) == 4
    assert len(of_kind(measurements, Kind.MIXED)) == 2
    assert all(len(each.samples_s) >= 2 for each in measurements)


def test_no_prompt_repeats_but_for_the_contexts_it_is_to_find() -> None:
    target = VirtualTarget()
    _, session = measured(target)
    contexts = [prompt.token_ids for prompt in target.seen if not prompt.final]
    assert len(contexts) == len(session.programs) == 18
    whole = [tuple(prompt.token_ids) for prompt in target.seen]
    assert len(set(whole)) == len(whole)
    assert len({prompt.program_id for prompt in target.seen}) == len(target.seen)


@pytest.mark.parametrize(("quick", "seconds"), [(False, 150), (True, 40)])
@pytest.mark.parametrize("speed", [0.01, 1.0, 5.0])
def test_it_takes_about_as_long_as_promised(quick: bool, seconds: float, speed: float) -> None:
    target = VirtualTarget(scaled(speed))
    measured(target, quick=quick)
    assert target.now < seconds * max(1.0, speed)


@limits(max_examples=20, deadline=None)
@given(
    kv_tokens=st.integers(400, 100_000),
    context_tokens=st.integers(200, 20_000),
    max_running=st.integers(1, 300),
)
def test_what_runs_at_once_fits_the_memory(
    kv_tokens: int, context_tokens: int, max_running: int
) -> None:
    target = VirtualTarget(scaled(0.01))
    server = facts(kv_tokens=kv_tokens, context_tokens=context_tokens, max_running=max_running)
    measurements, session = measured(target, server, quick=True)
    assert fit_costs(measurements).fixed_s > 0
    assert target.most_kv_tokens <= kv_tokens
    assert max(len(prompt.token_ids) for prompt in target.seen) < context_tokens
    assert len(session.programs) <= max_running + max(1, max_running // 8)


@pytest.mark.parametrize(("kv_tokens", "context_tokens"), [(300, 8192), (32_768, 100)])
def test_a_server_that_is_too_small_is_refused(kv_tokens: int, context_tokens: int) -> None:
    with pytest.raises(CalibrationError, match="expected room for 384 and 176") as caught:
        measured(VirtualTarget(), facts(kv_tokens=kv_tokens, context_tokens=context_tokens))
    assert f"{kv_tokens:,} KV tokens" in str(caught.value)
    assert "agentrt serve --kv-tokens" in caught.value.hint


def test_without_a_prefix_cache_the_rest_is_measured_and_it_says_so() -> None:
    measurements, session = measured(VirtualTarget(caches=False))
    assert of_kind(measurements, Kind.EXTEND) == []
    assert session.notes[0].startswith("not measured, because the server did not find the prefix")
    assert astuple(fit_costs(measurements)) == pytest.approx(astuple(COSTS), rel=0.02)


def test_where_the_server_does_not_say_what_it_found_a_prefix_counts_as_found() -> None:
    measurements, _ = measured(VirtualTarget(says_cached=False))
    assert astuple(fit_costs(measurements)) == pytest.approx(astuple(COSTS), rel=0.02)


def test_equal_seeds_send_equal_prompts() -> None:
    sent = []
    for seed in (1, 1, 2):
        target = VirtualTarget()
        measured(target, seed=seed)
        sent.append([prompt.token_ids for prompt in target.seen])
    assert sent[0] == sent[1]
    assert sent[0] != sent[2]


def test_a_slow_server_gets_shorter_contexts_instead_of_more_time() -> None:
    fast, slow = (
        choose_sizes(facts(), {length: speed * length for length in (64, 256, 1024)}, USUAL)
        for speed in (1e-5, 5e-3)
    )
    assert max(fast.contexts) == 1024
    assert sum(slow.contexts) < sum(fast.contexts)
    assert len(slow.contexts) >= 16
