"""Who yields to whom under `guard`, for how long KV is leased, and where the gate is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy import Context, Expectation, Gate, Phase, Program, Turn
from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.memory_price import IDLE_S
from tests.support.fake_engine import COSTS, FakeEngine, idle, program, programs, turn

#: Long before the pauses below, so that nothing has been quiet for long.
NOW = 100.0


def guard_at(price: float, **parameters: float) -> Guard:
    """A guard at a price of `price` GPU-seconds per token-second, just told so."""
    guard = Guard(**parameters)  # type: ignore[arg-type]
    # One batch for so long that the means are its values: λ = fixed share / KV tokens.
    guard.stepped(NOW, 1e6, 1.0, 1 / price if price else 1e12, 1.0)
    assert guard.price(NOW) == pytest.approx(price, abs=1e-9)
    return guard


def busy(*members: Program, queue: tuple[Program, ...] = ()) -> FakeEngine:
    """An engine in which a program far behind all others runs."""
    other = program(999, Phase.RUNNING)
    return FakeEngine(programs=programs(*members, other), running=[turn(other)], queue=list(queue))


def yielded(
    guard: Guard,
    to: Turn,
    need: int,
    contexts: list[Context],
    engine: FakeEngine,
    *,
    backfill: bool = False,
) -> list[tuple[str, int]] | None:
    victims = guard.reclaim(NOW, to, need, contexts, engine, backfill=backfill)
    if victims is None:
        return None
    return [
        (victim.context.program.program_id if victim.context.program else "shared", victim.tokens)
        for victim in victims
    ]


def free_guard(price: float = 0.0) -> Guard:
    """One that keeps no headroom, so that needs are what they are."""
    return guard_at(price, headroom=0.0, newcomer=0.0)


def test_ended_programs_yield_first_then_what_is_not_worth_its_price_then_the_latest() -> None:
    ended = program(0, Phase.ENDED)
    # Gone for an hour in a tool that takes seconds.
    senior, late, later = program(1, paused_s=NOW - 3600), program(7), program(8)
    for known in (senior, late, later):
        known.returns_s = NOW + (1e9 if known is senior else 0.5)
    head = program(5, Phase.WAITING)
    guard = free_guard(price=1e-4)
    contexts = [idle(each) for each in (late, senior, ended, later)]
    engine = busy(senior, head, late, later, queue=(head,))
    assert yielded(guard, turn(head), 400, contexts, engine) == [
        ("p0", 100),
        ("p1", 100),
        ("p8", 100),
        ("p7", 100),
    ]


@given(
    start=st.integers(0, 20_000),
    hole=st.sampled_from([0, 500]),
    tokens=st.integers(1, 20_000),
    need=st.integers(1, 25_000),
    copied=st.booleans(),
)
def test_with_fronts_the_end_that_is_sooner_computed_again_yields(
    start: int, hole: int, tokens: int, need: int, copied: bool
) -> None:
    head = program(5, Phase.WAITING)
    context = Context(program(9), {}, start=start, hole=hole, tokens=tokens)
    context.host_tokens = tokens if copied else 0
    engine = busy(head, queue=(head,))
    guards = (free_guard(), guard_at(0.0, headroom=0.0, newcomer=0.0, fronts=True))
    assert [guard.evicts_fronts for guard in guards] == [False, True]

    without, chosen = (
        guard.reclaim(NOW, turn(head), need, [context], engine, backfill=False) for guard in guards
    )

    if without is None or chosen is None:
        assert without is chosen is None
        return
    assert [each._replace(front=False) for each in chosen] == without
    assert not any(each.front for each in without)
    front, end = start + hole, context.end
    sooner = COSTS.prefill(front, front + need) + (0 if hole else COSTS.fixed_s) < COSTS.prefill(
        end - need, end
    )
    assert [each.front for each in chosen] == [sooner and need < tokens and not copied]


def test_only_as_much_of_a_tail_yields_as_is_needed() -> None:
    head = program(5, Phase.WAITING)
    contexts = [idle(program(8)), idle(program(9))]
    engine = busy(head, queue=(head,))
    assert yielded(free_guard(), turn(head), 130, contexts, engine) == [("p9", 100), ("p8", 30)]


def test_a_senior_yields_nothing_that_is_worth_its_price() -> None:
    senior, head = program(1), program(5, Phase.WAITING)
    senior.returns_s = NOW + 1.0
    # A token at position 100 costs 1.1 ms again, in one second: worth 0.0011 per second.
    engine = busy(senior, head, queue=(head,))
    for price, gives in ((0.0010, None), (0.0012, [("p1", 50)])):
        assert yielded(free_guard(price), turn(head), 50, [idle(senior)], engine) == gives


def test_the_cheapest_of_those_below_the_price_yields_first() -> None:
    soon, late = program(1), program(2)
    soon.returns_s, late.returns_s = NOW + 10, NOW + 100
    head = program(5, Phase.WAITING)
    engine = busy(soon, late, head, queue=(head,))
    contexts = [idle(soon), idle(late)]
    assert yielded(free_guard(0.1), turn(head), 150, contexts, engine) == [("p2", 100), ("p1", 50)]


def test_a_backfilled_turn_gets_only_what_ended_or_came_later() -> None:
    ended, senior, junior = program(0, Phase.ENDED), program(1), program(9)
    senior.returns_s = NOW + 1e9
    later = program(5, Phase.WAITING)
    engine = busy(senior, later, junior, queue=(later,))
    contexts = [idle(senior), idle(ended), idle(junior)]
    guard = free_guard(price=0.1)
    assert yielded(guard, turn(later), 200, contexts, engine, backfill=True) == [
        ("p0", 100),
        ("p9", 100),
    ]
    assert yielded(guard, turn(later), 201, contexts, engine, backfill=True) is None


def test_a_shared_prefix_is_its_most_senior_users() -> None:
    senior, junior, head = program(1), program(9), program(5, Phase.WAITING)
    engine = busy(senior, head, junior, queue=(head,))
    shared = Context(None, {senior: None, junior: None}, tokens=100)
    assert yielded(free_guard(), turn(head), 100, [shared], engine) is None
    del shared.users[senior]
    assert yielded(free_guard(), turn(head), 100, [shared], engine) == [("shared", 100)]
    del shared.users[junior]
    assert yielded(free_guard(), turn(head), 100, [shared], engine, backfill=True) is not None


def test_with_nothing_running_for_two_seconds_whoever_waits_gets_it() -> None:
    senior, head = program(1), program(5, Phase.WAITING)
    senior.returns_s = NOW + 1.0
    engine = FakeEngine(programs=programs(senior, head), queue=[head])
    guard = free_guard()
    contexts = [idle(senior)]
    for later, gives in ((IDLE_S, None), (IDLE_S + 0.01, 100)):
        victims = guard.reclaim(NOW + later, turn(head), 100, contexts, engine, backfill=False)
        assert (victims and sum(victim.tokens for victim in victims)) == gives


def test_a_turn_in_the_batch_gets_what_there_is_whomever_it_belongs_to() -> None:
    senior, running = program(1), program(5, Phase.RUNNING)
    senior.returns_s = NOW + 1.0
    inside = turn(running)
    engine = FakeEngine(programs=programs(senior, running), running=[inside], queue=[running])
    assert yielded(free_guard(), inside, 300, [idle(senior)], engine) == [("p1", 100)]
    # Another turn of the same program waits: it takes from nobody before it.
    assert yielded(free_guard(), turn(running), 300, [idle(senior)], engine) is None


@given(
    arrivals=st.lists(st.integers(0, 20), min_size=1, max_size=8, unique=True),
    head=st.integers(0, 20),
    need=st.integers(1, 900),
    returns=st.lists(st.floats(0.01, 1e6), min_size=8, max_size=8),
    priorities=st.lists(st.sampled_from([0.0, 0.0, 1.0, -0.25]), min_size=9, max_size=9),
    price=st.sampled_from([0.0, 1e-5, 1e-3, 1.0]),
    backfill=st.booleans(),
)
def test_nobody_yields_to_a_junior_but_for_the_price(
    arrivals: list[int],
    head: int,
    need: int,
    returns: list[float],
    priorities: list[float],
    price: float,
    backfill: bool,
) -> None:
    owners = [program(arrival) for arrival in arrivals]
    for owner, at in zip(owners, returns, strict=False):
        owner.returns_s = NOW + at
    waits = program(head, Phase.WAITING)
    for each, priority in zip((waits, *owners), priorities, strict=False):
        each.priority = priority
    engine = busy(*owners, waits, queue=(waits,))
    victims = free_guard(price).reclaim(
        NOW, turn(waits), need, [idle(owner) for owner in owners], engine, backfill=backfill
    )
    if victims is None:
        return
    assert sum(victim.tokens for victim in victims) == need
    for victim in victims:
        loser = victim.context.program
        assert loser is not None
        assert loser.returns_s is not None
        worth = (COSTS.prefill_s + COSTS.position_s * 100) / (loser.returns_s - NOW)
        below = worth < price * 1.000001 and not backfill
        assert loser.seniority > waits.seniority or below


def test_headroom_is_kept_while_something_runs_and_more_from_newcomers() -> None:
    guard = Guard(headroom=0.02, newcomer=0.05)
    head = program(5, Phase.WAITING)
    engine = busy(head)
    assert guard.reserve(turn(head), engine) == 70
    engine.contexts[head] = idle(head)
    assert guard.reserve(turn(head), engine) == 20
    engine.running = ()
    assert guard.reserve(turn(head), engine) == 0


def opened(guard: Guard, engine: FakeEngine) -> dict[str, Gate]:
    guard.open_gate(NOW, engine)
    return {
        name: guard.admit(NOW, turn(each), engine)
        for name, each in engine.programs.items()
        if each.phase is Phase.WAITING
    }


def test_the_gate_is_behind_the_last_program_that_fits() -> None:
    # 100 + 200 tokens each, as nobody knows their outputs yet: three fit 1,000 tokens.
    waiting = [program(arrival, Phase.WAITING) for arrival in range(5)]
    gates = opened(Guard(), FakeEngine(programs=programs(*waiting)))
    assert list(gates.values()) == [Gate.OPEN] * 3 + [Gate.CLOSED] * 2
    assert set(opened(Guard(gate=False), FakeEngine(programs=programs(*waiting))).values()) == {
        Gate.OPEN
    }


def test_the_gate_always_lets_one_in() -> None:
    huge = [program(arrival, Phase.WAITING, prompt=5000) for arrival in range(2)]
    gates = opened(Guard(), FakeEngine(programs=programs(*huge)))
    assert gates == {"p0": Gate.OPEN, "p1": Gate.CLOSED}


def test_the_gate_lets_one_in_that_can_start_when_its_seniors_all_pause() -> None:
    paused = program(0, context=900)
    paused.returns_s = NOW + 1.0
    waiting = [program(arrival, Phase.WAITING, prompt=900) for arrival in (1, 2)]
    guard = free_guard()
    gates = opened(guard, FakeEngine(programs=programs(paused, *waiting)))
    assert gates == {"p1": Gate.OPEN, "p2": Gate.CLOSED}


def test_a_pause_counts_at_the_gate_only_while_its_kv_is_worth_its_price() -> None:
    paused = program(0, context=900)
    waiting = program(1, Phase.WAITING)
    for returns_s, gate in ((NOW + 1.0, Gate.CLOSED), (NOW + 1e6, Gate.OPEN)):
        paused.returns_s = returns_s
        assert opened(free_guard(1e-5), busy(paused, waiting))["p1"] is gate


def test_an_engine_in_a_hurry_counts_a_pause_that_has_just_begun_until_it_looks_at_it() -> None:
    paused, waiting = program(0, context=900), program(1, Phase.WAITING)
    paused.returns_s = NOW + 1e6
    guard, engine = free_guard(1e-5), replace(busy(paused, waiting), looks=16.0)
    for each in engine.programs.values():
        guard.program_started(NOW, each)
    assert opened(guard, engine)["p1"] is Gate.CLOSED
    guard.prepare(NOW, engine)
    guard.open_gate(NOW, engine)
    assert guard.admit(NOW, turn(waiting), engine) is Gate.OPEN


def test_a_child_has_the_priority_of_the_program_that_waits_for_it() -> None:
    parent, junior = program(0, context=900), program(1, Phase.WAITING, prompt=900)
    child = program(2, Phase.WAITING, prompt=50)
    child.parent, parent.children = parent, (child,)
    guard = Guard()
    for one in (parent, junior, child):
        guard.program_started(NOW, one)
    engine = FakeEngine(programs=programs(parent, junior, child), queue=[child, junior])
    guard.open_gate(NOW, engine)
    assert guard.rank(NOW, turn(child)) < guard.rank(NOW, turn(junior))
    assert guard.admit(NOW, turn(child), engine) is Gate.OPEN
    assert guard.admit(NOW, turn(junior), engine) is Gate.CLOSED


def test_a_preempted_turn_keeps_its_programs_place() -> None:
    waiting = [program(arrival, Phase.WAITING, prompt=900) for arrival in range(2)]
    guard = Guard()
    guard.open_gate(NOW, FakeEngine(programs=programs(*waiting)))
    outside = turn(waiting[1])
    outside.preempted = True
    assert guard.rank(NOW, turn(waiting[0])) < guard.rank(NOW, outside)
    assert guard.admit(NOW, outside, FakeEngine(programs=programs(*waiting))) is Gate.CLOSED


def test_a_parents_kv_is_worth_what_the_last_of_its_children_that_still_runs_says() -> None:
    parent, soon, late = program(0), program(1), program(2)
    soon.returns_s, late.returns_s = NOW + 1, NOW + 1000
    done = program(3, Phase.ENDED)
    parent.children = (soon, late, done)
    head = program(5, Phase.WAITING)
    engine = busy(parent, soon, late, head, queue=(head,))
    # 1.1 ms per token at once in 1,000 s.
    for price, gives in ((1.0e-6, None), (1.2e-6, [("p0", 100)])):
        assert yielded(free_guard(price), turn(head), 100, [idle(parent)], engine) == gives


def test_between_rounds_an_engine_in_a_hurry_finds_out_what_rounds_have_no_time_for() -> None:
    hurry, patient = free_guard(1.0e-5), free_guard(1.0e-5)
    paused = [program(number, paused_s=NOW - 2.0 * number) for number in range(1, 40)]
    engine = busy(*paused)
    for guard in (hurry, patient):
        for each in engine.programs.values():
            guard.program_started(NOW, each)
        guard.open_gate(NOW, engine)
    found = set(hurry.willing())
    assert found
    assert found == set(patient.willing())

    dearer = replace(COSTS, prefill_s=100 * COSTS.prefill_s)
    hurried = replace(engine, looks=3.0, costs=dearer)
    for guard, view in ((hurry, hurried), (patient, replace(engine, costs=dearer))):
        guard.attach(dearer)
        guard.open_gate(NOW, view)
    now_found = set(patient.willing())
    assert now_found < found
    assert set(hurry.willing()) == found, "a round looked at paused programs"
    for _ in range(len(paused) // 3 + 1):
        hurry.prepare(NOW, hurried)
    assert set(hurry.willing()) == now_found


def test_where_prefill_costs_nothing_no_kv_is_worth_holding() -> None:
    guard = free_guard(1.0e-5)
    paused = program(1, paused_s=NOW)
    engine = replace(busy(paused), costs=replace(COSTS, prefill_s=0.0, position_s=0.0))
    for each in engine.programs.values():
        guard.program_started(NOW, each)
    guard.attach(engine.costs)
    guard.open_gate(NOW, engine)
    assert set(guard.willing()) == {paused}
    lease = guard.lease(NOW, paused, engine)
    assert lease is not None
    assert lease.until_s == NOW


@pytest.mark.parametrize("price", [1e-5, 1e-4, 1e-3, 1e-2])
def test_a_lease_ends_when_the_kv_is_not_worth_its_price_and_never_beyond_break_even(
    price: float,
) -> None:
    guard = guard_at(price)
    for seconds in (0.5, 1.0, 2.0, 4.0) * 50:
        owner = program(1, paused_s=NOW - seconds)
        guard.pause_ended(NOW, owner)
    owner = program(1, context=400, paused_s=NOW)
    engine = busy(owner)
    lease = guard.lease(NOW, owner, engine)
    assert lease is not None
    cost = COSTS.prefill_s + COSTS.position_s * 400
    assert NOW <= lease.until_s <= NOW + cost / price + 1e-9
    durations = guard.durations
    left = lease.until_s - NOW
    if left < cost / price - 1e-9:
        assert cost * durations.return_rate("bash", left + 1e-6) < price
    if left:
        assert cost * durations.return_rate("bash", 0.0) >= price
        assert cost * durations.return_rate("bash", left / 2) >= price
        assert cost * durations.return_rate("bash", left - 1e-6) >= price


def test_without_a_price_a_lease_has_no_end() -> None:
    owner = program(1)
    lease = Guard(price=0).lease(NOW, owner, busy(owner))
    assert lease is not None
    assert lease.until_s == math.inf


def test_the_latest_is_preempted() -> None:
    running = [turn(program(arrival, Phase.RUNNING)) for arrival in (3, 9, 4)]
    assert Guard().preempt(NOW, running) is running[1]


def test_what_a_client_expects_of_a_pause_goes_before_what_was_learned() -> None:
    guard = free_guard(price=1e-4)
    for _ in range(50):
        guard.pause_ended(NOW, program(1, paused_s=NOW - 1.0))
    soon, late, head = program(1, paused_s=NOW), program(2, paused_s=NOW), program(5)
    head.phase = Phase.WAITING
    late.expected = Expectation.of({0.5: 600.0})
    engine = busy(soon, late, head, queue=(head,))
    # Gone for ten minutes it is not worth its price, though the tool usually takes a second.
    assert yielded(guard, turn(head), 100, [idle(soon), idle(late)], engine) == [("p2", 100)]
    assert guard.predict_pause(late, 0.5) == 600.0
    assert (guard.predict_pause(soon, 0.5) or 0.0) < 2.0
    leases = [guard.lease(NOW, each, engine) for each in (soon, late)]
    until = [lease.until_s for lease in leases if lease is not None]
    assert until[0] > NOW
    assert until[1] == NOW


def test_a_hint_on_a_program_moves_its_children_too() -> None:
    parent, junior = program(0, context=900), program(1, Phase.WAITING, prompt=900)
    child = program(2, Phase.WAITING, prompt=50)
    child.parent, parent.children = parent, (child,)
    guard = Guard()
    for one in (parent, junior, child):
        guard.program_started(NOW, one)
    parent.priority = -1.0
    assert guard.rank(NOW, turn(child)) < guard.rank(NOW, turn(junior))
    guard.hinted(NOW, parent)
    assert guard.rank(NOW, turn(child)) > guard.rank(NOW, turn(junior))
