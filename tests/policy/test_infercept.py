"""InferCept keeps a context until the memory that wastes exceeds what losing it would waste."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy import Context, Costs, Phase, Program
from agentrt_engine.policy.infercept import InferCept
from tests.support.fake_engine import COSTS, FakeEngine, idle, program, programs, turn

HOST = Costs(0.01, 0.0, COSTS.prefill_s, COSTS.position_s, host_s=1e-4)


def engine_with(others: int, *members: Program, costs: Costs = COSTS) -> FakeEngine:
    """An engine whose batch holds `others` tokens."""
    running = [turn(program(50, Phase.RUNNING, prompt=others))] if others else []
    return FakeEngine(costs=costs, programs=programs(*members), running=running)


@given(
    length=st.integers(1, 100_000),
    others=st.integers(0, 100_000),
    factor=st.floats(0.01, 100),
    host=st.booleans(),
)
def test_a_context_is_preserved_as_long_as_that_wastes_least(
    length: int, others: int, factor: float, host: bool
) -> None:
    costs = HOST if host else COSTS
    paused = program(1, context=length)
    engine = engine_with(others, paused, costs=costs)
    policy = InferCept()
    lease = policy.lease(0.0, paused, engine)
    assert lease is not None
    elapsed = lease.until_s * factor
    discard = costs.prefill(0, length) * (length + others)
    swap = 2 * 1e-4 * length * (length + others) if host else discard
    if factor < 0.999:
        assert elapsed * length < min(discard, swap)
    if factor > 1.001:
        assert elapsed * length > min(discard, swap)


def test_contexts_past_their_break_even_go_first_and_then_those_of_the_latest() -> None:
    head = program(5, Phase.WAITING)
    # fwd(100) = 0.10495 s, so with 900 tokens in the batch it breaks even after 1.0495 s.
    stale, early, late, later = (program(arrival) for arrival in (6, 1, 8, 9))
    for each, since in ((stale, 2.0), (early, 1.0), (late, 1.0), (later, 1.04)):
        each.paused_s = 10.0 - since
    engine = engine_with(900, stale, early, late, later, head)
    contexts = [idle(each) for each in (early, late, later, stale)]
    victims = InferCept().reclaim(10.0, turn(head), 1000, contexts, engine, backfill=False)
    assert victims is not None
    assert [victim.context.program for victim in victims] == [stale, later, late]


def test_when_nothing_else_runs_every_context_can_go() -> None:
    head, early, late = program(5, Phase.WAITING), program(1), program(9)
    contexts = [idle(early), idle(late)]
    engine = engine_with(0, early, late, head)
    victims = InferCept().reclaim(0.01, turn(head), 150, contexts, engine, backfill=False)
    assert victims is not None
    assert [(victim.context.program, victim.tokens) for victim in victims] == [
        (late, 100),
        (early, 50),
    ]


@pytest.mark.parametrize(
    ("phase", "gives"), [(Phase.WAITING, 0), (Phase.PREEMPTED, 100), (Phase.ENDED, 100)]
)
def test_a_waiting_turns_context_is_kept_and_an_ended_ones_is_not(phase: Phase, gives: int) -> None:
    head, owner = program(5, Phase.WAITING), program(1, phase)
    engine = engine_with(900, owner, head)
    victims = InferCept().reclaim(0.0, turn(head), 100, [idle(owner)], engine, backfill=False)
    assert sum(victim.tokens for victim in victims or []) == gives


def test_a_shared_prefix_is_kept_by_recency_alone() -> None:
    head = program(5, Phase.WAITING)
    shared = Context(None, {program(1): None}, tokens=64)
    engine = engine_with(900, head)
    victims = InferCept().reclaim(0.0, turn(head), 64, [shared], engine, backfill=False)
    assert victims is not None
    assert [victim.context for victim in victims] == [shared]
