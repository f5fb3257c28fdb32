"""A cost per decoding turn: a batch takes longer the more turns it has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.simulated.batch import DecodeBatch
from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.costs import TickCosts
from agentrt_engine.simulated.isolated import Isolated
from agentrt_engine.simulated.profile import load_profile
from agentrt_engine.simulated.workload import plan_workload
from tests.simulated.test_jumping import assert_alike
from tests.support.simulated import COSTS, run, settings, watched
from tests.support.workloads import workload

SEQUENCE_S = 1.7e-3
WITH_SEQUENCES = replace(COSTS, sequence_s=SEQUENCE_S)


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=9),
    steps=st.integers(0, 40),
    per_turn=st.sampled_from([0, 1, 1000, 10**9]),
    share=st.floats(0, 1.2),
)
def test_a_stretch_of_steps_costs_what_its_steps_cost(
    lengths: list[int], steps: int, per_turn: int, share: float
) -> None:
    batch: DecodeBatch[int] = DecodeBatch(16, 500, 3, per_turn)
    for name, length in enumerate(lengths):
        batch.join(name, length, 100)
    turns = len(lengths)
    one_by_one = [
        500 + per_turn * turns + 3 * (sum(lengths) + step * turns) for step in range(steps)
    ]
    assert batch.duration(steps) == sum(one_by_one)
    if steps:
        duration = max(1, round(batch.duration(steps) * share))
        reached = [n for n in range(1, steps) if batch.duration(n) >= duration]
        assert batch.steps_until(duration, steps) == (reached[0] if reached else steps)


@pytest.mark.parametrize("policy", ["lru", "guard"])
@pytest.mark.parametrize("seed", range(3))
def test_jumping_comes_to_the_same_as_stepping(policy: str, seed: int) -> None:
    engine = settings(1000 + 60 * seed, costs=WITH_SEQUENCES)
    records = workload(seed)
    jumped = run(records, policy, engine, kind="open")
    stepped = run(records, policy, engine, kind="open", stepwise=True)
    assert_alike(jumped, stepped)


@pytest.mark.parametrize("policy", ["lru", "guard"])
def test_the_accounts_add_up_to_the_time_of_all_steps(policy: str) -> None:
    seen, outcomes = watched(workload(3), policy, settings(costs=WITH_SEQUENCES), kind="open")
    accounts = [outcome.account for outcome in outcomes]
    charged = sum(each.prefill_s + each.recompute_s + each.decode_s for each in accounts)
    assert charged == pytest.approx(seen.busy_s, rel=1e-9)


def test_a_program_alone_pays_it_in_every_decode_step() -> None:
    without, with_it = settings(), settings(costs=WITH_SEQUENCES)
    plans = plan_workload(workload(5), page=without.page)
    alone = [
        Isolated(TickCosts.of(engine.costs), chunk_tokens=engine.chunk_tokens, page=engine.page)
        for engine in (without, with_it)
    ]
    for plan in plans:
        added = alone[1].service_left(plan, 0) - alone[0].service_left(plan, 0)
        decodes = sum(turn.output_tokens - 1 for turn in plan.turns)
        assert seconds(added) == pytest.approx(decodes * SEQUENCE_S, rel=1e-9)


def test_profiles_without_it_have_none() -> None:
    assert load_profile("llama-3.1-8b-h200").costs().sequence_s == 0.0
