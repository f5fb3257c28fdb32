"""What the bounds promise, and that a program alone takes as long as it takes alone."""

from __future__ import annotations

import pytest

from agentrt_engine.policy import make_policy
from agentrt_engine.simulated.arrivals import OpenLoop
from agentrt_engine.simulated.run import simulate
from agentrt_engine.simulated.workload import plan_workload
from tests.support.simulated import SPECIFICATIONS, loop, run, settings
from tests.support.workloads import Shape, single, workload

PRIVATE = Shape(shares=False)


@pytest.mark.parametrize("specification", SPECIFICATIONS)
@pytest.mark.parametrize("page", [1, 16])
def test_a_program_alone_takes_its_isolated_time(specification: str, page: int) -> None:
    for seed in range(20):
        (outcome,) = run([single(seed)], specification, settings(page=page, chunk_tokens=130))
        # A difference of two floats.
        assert outcome.jct_s == pytest.approx(outcome.isolated_s, rel=1e-9, abs=1e-9)
        assert (outcome.lost_tokens, outcome.preemptions) == (0, 0)


@pytest.mark.parametrize("kind", ["open", "closed"])
@pytest.mark.parametrize("page", [1, 16])
def test_unlimited_memory_finds_every_whole_page_again(kind: str, page: int) -> None:
    for seed in range(10):
        records = workload(seed, PRIVATE)
        plans = {plan.program_id: plan for plan in plan_workload(records, page=page)}
        waiting = list(plans.values())
        while waiting:
            for turn in waiting.pop().turns:
                plans |= {child.program_id: child for child in turn.waits_for}
                waiting += turn.waits_for
        for outcome in run(records, "infinite-kv", settings(page=page), kind=kind):
            hits = kept = 0
            for turn in plans[outcome.program_id].turns:
                hits += min(turn.reusable_tokens, turn.input_tokens - 1, kept) // page * page
                # The last token is generated but never computed.
                kept = -(-(turn.input_tokens + turn.output_tokens - 1) // page) * page
            assert outcome.hit_tokens == hits
            assert (outcome.lost_tokens, outcome.preemptions) == (0, 0)


@pytest.mark.parametrize("kind", ["open", "closed"])
def test_free_retention_loses_nothing_but_by_preemption(kind: str) -> None:
    for seed in range(10):
        records = workload(seed, PRIVATE)
        tight = run(records, "oracle-retention", settings(1000), kind=kind)
        ample = {
            outcome.program_id: outcome
            for outcome in run(records, "infinite-kv", settings(1000), kind=kind)
        }
        for outcome in tight:
            assert outcome.lost_tokens == 0
            if not outcome.preemptions:
                assert outcome.hit_tokens == ample[outcome.program_id].hit_tokens


@pytest.mark.parametrize("kind", ["open", "closed"])
def test_a_run_reports_its_programs_and_how_it_went(kind: str) -> None:
    plans = plan_workload(workload(3), page=16)
    outcome = simulate(
        loop(plans, kind), make_policy("lru"), settings(), specification="lru:", seed=9, record=True
    )
    assert (outcome.policy, outcome.seed, outcome.capacity_tokens) == ("lru:", 9, 1600)
    assert outcome.makespan_s == max(program.end_s or 0 for program in outcome.programs)
    assert outcome.steps > 0
    assert outcome.timeline is not None
    for sample in outcome.timeline.occupancy:
        assert sample.running + sample.leased + sample.cached + sample.free == 1600
        assert min(sample.running, sample.leased, sample.cached, sample.free) >= 0
    if kind == "closed":
        assert outcome.backlog == []
    else:
        arrived = sum(1 for plan in plans)
        assert outcome.backlog
        assert all(0 <= waiting <= arrived + 12 for _at, waiting in outcome.backlog)


def test_a_bound_without_a_limit_says_so() -> None:
    plans = plan_workload([single(1)], page=16)
    outcome = simulate(OpenLoop(plans, [0.0]), make_policy("infinite-kv"), settings())
    assert outcome.capacity_tokens is None
    assert outcome.policy == "infinite-kv"
