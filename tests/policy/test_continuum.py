"""Continuum's TTL against its formula, and when a pin holds and when it does not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy import Costs, Phase, Program
from agentrt_engine.policy.continuum import COLD_START, Continuum, Eta, TurnCorrelation
from agentrt_engine.policy.fixed_ttl import FixedTtl
from agentrt_engine.policy.pinning import Pinning, Reading
from tests.support.fake_engine import FakeEngine, idle, program, programs, turn

SLOW = Costs(fixed_s=0.01, decode_s=0.0, prefill_s=0.1, position_s=0.0)


def paused_for(policy: Pinning, seconds: float, tool: str) -> None:
    policy.pause_ended(seconds, program(0, tool=tool))


def waited_after_eviction(policy: Pinning, seconds: float) -> None:
    evicted = turn(program(0, Phase.WAITING))
    evicted.evicted = True
    policy.turn_started(seconds, evicted, cached=False)


def benefit(durations: list[float], gain_s: float, ttl: float) -> float:
    """P(τ)·gain − τ."""
    return sum(seconds <= ttl for seconds in durations) / len(durations) * gain_s - ttl


def best_by_brute_force(durations: list[float], gain_s: float) -> float:
    """The τ of most benefit."""
    return max([0.0, *durations], key=lambda ttl: benefit(durations, gain_s, ttl))


def test_before_anything_is_known_a_pin_is_worth_its_prefill() -> None:
    policy = Continuum()
    engine = FakeEngine(costs=SLOW)
    # R = 100 · 0.1 s and T = 0; then T = (2 + 6)/2 s.
    assert policy.pin_s(program(1, context=100), engine) == pytest.approx(math.log(10))
    waited_after_eviction(policy, 2.0)
    waited_after_eviction(policy, 6.0)
    assert policy.pin_s(program(1, context=100), engine) == pytest.approx(math.log(14))
    assert policy.pin_s(program(1, context=5), FakeEngine()) == pytest.approx(math.log(4.00501))
    assert Continuum().pin_s(program(1, context=5), engine) == 0
    assert Continuum().pin_s(program(1, context=0), engine) == 0


def test_a_wait_counts_only_after_an_eviction() -> None:
    policy = Continuum()
    policy.turn_started(50.0, turn(program(0, Phase.WAITING)), cached=True)
    assert policy.pin_s(program(1, context=100), FakeEngine(costs=SLOW)) == pytest.approx(
        math.log(10)
    )


def test_a_copy_in_host_memory_makes_a_loss_as_cheap_as_bringing_it_back() -> None:
    host = Costs(0.01, 0.0, prefill_s=0.1, position_s=0.0, host_s=0.04, host_latency_s=1.0)
    assert Continuum().pin_s(program(1, context=100), FakeEngine(costs=host)) == pytest.approx(
        math.log(5)
    )


@given(
    slow=st.lists(st.floats(0.01, 20), min_size=COLD_START, max_size=COLD_START + 60),
    few=st.lists(st.floats(0.01, 20), min_size=0, max_size=30),
    wait_s=st.floats(0, 30),
    context=st.integers(1, 200),
)
def test_a_learned_ttl_is_the_best_of_the_recorded_durations(
    slow: list[float], few: list[float], wait_s: float, context: int
) -> None:
    policy = Continuum()
    for seconds in slow:
        paused_for(policy, seconds, "pytest")
    for seconds in few:
        paused_for(policy, seconds, "bash")
    waited_after_eviction(policy, wait_s)
    gain_s = wait_s + 0.1 * context
    engine = FakeEngine(costs=SLOW)
    for tool, durations in (("pytest", slow), ("bash", slow + few), ("new", slow + few)):
        chosen = policy.pin_s(program(1, context=context, tool=tool), engine)
        best = best_by_brute_force(durations, gain_s)
        assert chosen in (0.0, *durations)
        # Several may be equally good, but for rounding.
        assert benefit(durations, gain_s, chosen) == pytest.approx(
            benefit(durations, gain_s, best), abs=1e-6
        )


def correlation(pairs: list[tuple[int, int]]) -> float:
    n = len(pairs)
    x = sum(a for a, _b in pairs) / n
    y = sum(b for _a, b in pairs) / n
    across = sum((a - x) * (b - y) for a, b in pairs)
    spread = math.hypot(*(a - x for a, _b in pairs)) * math.hypot(*(b - y for _a, b in pairs))
    return across / spread


@given(turns=st.lists(st.integers(2, 40), min_size=1, max_size=20))
def test_eta_is_minus_the_correlation_of_turns_done_and_turns_left(turns: list[int]) -> None:
    learned = TurnCorrelation()
    for count in turns:
        learned.observe(count)
    pairs = [(done, count - done) for count in turns for done in range(1, count + 1)]
    assert learned.eta() == pytest.approx(min(1.0, max(0.0, -correlation(pairs))), abs=1e-9)


def test_eta_is_one_for_fixed_turn_counts_and_for_none() -> None:
    learned = TurnCorrelation()
    assert learned.eta() == 1.0
    for _ in range(5):
        learned.observe(9)
    assert learned.eta() == pytest.approx(1.0)


def test_a_learned_eta_scales_the_wait_and_not_the_prefill() -> None:
    full, learned = Continuum(eta=Eta.FULL), Continuum(eta=Eta.LEARNED)
    turns = [1, 2, 3, 5, 8, 13, 21, 2, 2, 1, 40]
    for policy in (full, learned):
        for at in range(COLD_START):
            paused_for(policy, 1.0 + at / 10, "bash")
        waited_after_eviction(policy, 20.0)
        for count in turns:
            ended = Program("e", 0, 0.0, turns=count)
            policy.program_ended(0.0, ended)
    counted = TurnCorrelation()
    for count in turns:
        counted.observe(count)
    assert 0 < counted.eta() < 1
    durations = [1.0 + at / 10 for at in range(COLD_START)]
    engine = FakeEngine(costs=SLOW)
    paused = program(1, context=10)
    for policy, eta in ((full, 1.0), (learned, counted.eta())):
        assert policy.pin_s(paused, engine) == best_by_brute_force(durations, 20 * eta + 1.0)


# Pins.


def pinned_at(policy: Pinning, *owners: Program, now: float = 0.0) -> None:
    for owner in owners:
        assert policy.lease(now, owner, FakeEngine()) is not None


def test_a_live_pin_puts_a_program_ahead_of_earlier_ones_and_is_used_up_by_its_turn() -> None:
    policy = FixedTtl(seconds=2.0)
    early, late = program(1, Phase.WAITING), program(9)
    pinned_at(policy, late)
    policy.pause_ended(1.0, late)
    assert policy.rank(1.0, turn(late)) < policy.rank(1.0, turn(early))
    # Its turn waits, so the pin does not expire.
    assert policy.rank(50.0, turn(late)) < policy.rank(50.0, turn(early))
    policy.turn_started(50.0, turn(late), cached=True)
    assert policy.rank(50.0, turn(late)) > policy.rank(50.0, turn(early))


def test_a_pin_that_expired_before_the_program_came_back_is_gone() -> None:
    policy = FixedTtl(seconds=2.0)
    late = program(9)
    pinned_at(policy, late)
    policy.pause_ended(2.5, late)
    early = turn(program(1, Phase.WAITING))
    assert policy.rank(2.5, turn(late)) > policy.rank(2.5, early)


def test_a_constant_of_zero_pins_nothing() -> None:
    assert FixedTtl(seconds=0.0).lease(0.0, program(1), FakeEngine()) is None


@pytest.mark.parametrize("reading", list(Reading))
def test_what_no_pin_protects_goes_first_the_least_recently_used_before_others(
    reading: Reading,
) -> None:
    policy = FixedTtl(2.0, reading)
    pinned, old, fresh = program(9), program(3), program(2)
    pinned_at(policy, pinned)
    head = program(4, Phase.WAITING)
    other = program(8, Phase.RUNNING)
    engine = FakeEngine(programs=programs(pinned, head, other), running=[turn(other)])
    contexts = [idle(fresh, used_s=0.9), idle(pinned, used_s=0.1), idle(old, used_s=0.5)]
    victims = policy.reclaim(1.0, turn(head), 150, contexts, engine, backfill=False)
    assert victims is not None
    assert [(victim.context.program, victim.tokens) for victim in victims] == [
        (old, 100),
        (fresh, 50),
    ]


@pytest.mark.parametrize(
    ("reading", "runs", "given"),
    [
        # Strict: only when nothing runs, and then of any program, the latest first.
        (Reading.STRICT, True, []),
        (Reading.STRICT, False, [(9, 100), (7, 100), (2, 50)]),
        # Pressure: of later programs whenever the head is blocked.
        (Reading.PRESSURE, True, [(9, 100), (7, 100)]),
        (Reading.PRESSURE, False, [(9, 100), (7, 100), (2, 50)]),
    ],
)
def test_pins_of_the_latest_program_break_first_when_the_head_is_blocked(
    reading: Reading, runs: bool, given: list[tuple[int, int]]
) -> None:
    policy = FixedTtl(2.0, reading)
    owners = [program(arrival) for arrival in (2, 7, 9)]
    pinned_at(policy, *owners)
    head, other = program(4, Phase.WAITING), program(8, Phase.RUNNING)
    engine = FakeEngine(programs=programs(*owners, head), running=[turn(other)] if runs else [])
    victims = policy.reclaim(
        1.0, turn(head), 250, [idle(owner) for owner in owners], engine, backfill=False
    )
    assert victims is not None
    arrivals = [
        (victim.context.program.arrival, victim.tokens)
        for victim in victims
        if victim.context.program
    ]
    assert arrivals == given
    # A pin that was broken stays so, whether the turn fits in the end or not.
    broken = {arrival for arrival, _tokens in given}
    for owner in owners:
        lives = policy.rank(1.0, turn(owner))[1] == 0
        assert lives == (owner.arrival not in broken)


def test_an_ended_program_holds_no_pin() -> None:
    policy = FixedTtl(2.0)
    owner = program(9)
    pinned_at(policy, owner)
    policy.program_ended(0.5, owner)
    assert policy.rank(1.0, turn(owner))[1] == 1
