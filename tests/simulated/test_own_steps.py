"""An engine that prefills in steps of their own, during which nothing decodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentrt_engine.policy import make_policy
from agentrt_engine.simulated.arrivals import OpenLoop
from agentrt_engine.simulated.engine import SimulatedEngine
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan
from tests.simulated.test_jumping import assert_alike
from tests.support.simulated import COSTS, run, settings, watched
from tests.support.workloads import single, workload


def own_steps(engine: EngineSettings) -> EngineSettings:
    return replace(engine, mixed_steps=False)


def one_turn(name: str, prompt: int, output: int) -> ProgramPlan:
    plan = ProgramPlan(name, "test", None, None)
    plan.turns.append(TurnPlan(prompt, 0, output, 0, "none"))
    return plan


def prefill_s(tokens: int) -> float:
    return tokens * COSTS.prefill_s + tokens * (tokens - 1) / 2 * COSTS.position_s


def decode_s(*kv_tokens: int) -> float:
    return COSTS.fixed_s + sum(kv_tokens) * COSTS.decode_s


def test_a_decoding_turn_waits_for_the_prefill_of_another() -> None:
    # The second prompt arrives during the first decode step of the first.
    plans = [one_turn("first", 100, 3), one_turn("second", 50, 1)]
    arrivals_s = [0.0, COSTS.fixed_s + prefill_s(100) + decode_s(100) / 2]
    ends_s = {}
    for mixed in (True, False):
        engine = replace(settings(page=1), mixed_steps=mixed)
        simulated = SimulatedEngine(engine, make_policy("lru"))
        ends_s[mixed] = [each.end_s for each in simulated.run(OpenLoop(plans, arrivals_s))]
    begun_s = COSTS.fixed_s + prefill_s(100) + decode_s(100)
    both_s = begun_s + decode_s(101) + prefill_s(50)
    assert ends_s[True] == pytest.approx([both_s, both_s], abs=1e-9)
    second_s = begun_s + COSTS.fixed_s + prefill_s(50)
    assert ends_s[False] == pytest.approx([second_s + decode_s(101), second_s], abs=1e-9)


def test_a_program_alone_takes_as_long_either_way() -> None:
    records = [single(seed=5)]
    mixed, own = (run(records, "lru", engine) for engine in (settings(), own_steps(settings())))
    assert mixed[0].turns > 1
    assert mixed == own


@pytest.mark.parametrize("policy", ["lru", "guard", "static-cap:programs=2"])
@pytest.mark.parametrize("seed", range(3))
def test_jumping_comes_to_the_same_as_stepping(policy: str, seed: int) -> None:
    engine = own_steps(settings(1000 + 60 * seed, page=(1, 16)[seed % 2]))
    records = workload(seed)
    jumped = run(records, policy, engine)
    stepped = run(records, policy, engine, stepwise=True)
    assert_alike(jumped, stepped)


@pytest.mark.parametrize("policy", ["lru", "guard"])
def test_the_accounts_add_up_to_the_time_of_all_steps(policy: str) -> None:
    seen, outcomes = watched(workload(3), policy, own_steps(settings()), kind="open")
    accounts = [outcome.account for outcome in outcomes]
    charged = sum(each.prefill_s + each.recompute_s + each.decode_s for each in accounts)
    assert charged == pytest.approx(seen.busy_s, rel=1e-9)
