"""The policies by name, and the order in which each puts a waiting queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy import (
    DEFAULT_ORDER,
    DEFAULT_POLICY,
    Program,
    Turn,
    make_order,
    make_policy,
    order_names,
    policy_names,
    policy_parameters,
)


def turn(
    name: str, arrival: int = 0, queued_s: float = 0.0, *, preempted: bool = False, served: int = 0
) -> Turn:
    program = Program(name, arrival, 0.0, served_tokens=served)
    return Turn(program, queued_s, prompt_tokens=1, preempted=preempted)


queues = st.lists(
    st.builds(
        turn,
        name=st.uuids().map(str),
        arrival=st.integers(0, 5),
        queued_s=st.floats(0, 100),
        preempted=st.booleans(),
        served=st.integers(0, 1000),
    )
)


def order(policy: str, queue: list[Turn]) -> list[Turn]:
    made = make_policy(policy)
    return sorted(queue, key=lambda turn: made.rank(0.0, turn))


def names(turns: list[Turn]) -> str:
    return "".join(turn.program.program_id for turn in turns)


def test_the_defaults() -> None:
    assert DEFAULT_POLICY == "guard"
    assert DEFAULT_ORDER == "program-fcfs"


@pytest.mark.parametrize("name", policy_names())
def test_a_policy_bears_its_registered_name(name: str) -> None:
    assert make_policy(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"), [("program_fcfs", "did you mean program-fcfs?"), ("zzz", "")]
)
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    with pytest.raises(UnknownPolicy, match=f"{name}.*expected one of guard, ") as caught:
        make_policy(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize("name", policy_names())
def test_an_engine_that_only_orders_takes_the_policies_that_only_order(name: str) -> None:
    if name in order_names():
        assert make_order(name).order_only
    else:
        with pytest.raises(UnknownPolicy, match=f"'{name}' decides about KV"):
            make_order(name)


@pytest.mark.parametrize("name", policy_names())
def test_every_parameter_can_be_given_with_its_default(name: str) -> None:
    given = ",".join(f"{key}={value}" for key, value in policy_parameters(name).items())
    assert make_policy(f"{name}:{given}").name == name


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("lru:seconds=2", "policy lru has no parameter 'seconds': it has none"),
        ("fixed-ttl:ttl=2", "policy fixed-ttl has no parameter 'ttl': expected seconds, reading"),
        ("fixed-ttl:seconds=two", "seconds='two': expected a finite number"),
        ("fixed-ttl:seconds=nan", "seconds='nan': expected a finite number"),
        ("fixed-ttl:seconds=-1", "seconds=-1.0: expected at least 0"),
        ("fixed-ttl:seconds", "seconds='': expected a finite number"),
        ("static-cap:programs=2.5", "programs='2.5': expected a whole number"),
        ("static-cap:programs=0", "programs=0: expected at least 1"),
        ("continuum:reading=lax", "reading='lax': expected strict, pressure"),
        ("guard:headroom=1", "headroom=1.0: expected a share from 0 to below 1"),
        ("guard:gate=maybe", "gate='maybe': expected yes or no"),
    ],
)
def test_a_wrong_parameter_is_refused(specification: str, message: str) -> None:
    with pytest.raises(UnknownPolicy) as caught:
        make_policy(specification)
    assert message in str(caught.value)


@given(queue=queues)
def test_lru_is_first_come_first_served(queue: list[Turn]) -> None:
    for preempted in (True, False):
        times = [turn.queued_s for turn in order("lru", queue) if turn.preempted is preempted]
        assert times == sorted(times)


def test_program_fcfs_puts_the_returning_turn_of_an_early_program_first() -> None:
    assert names(order("program-fcfs", [turn("b", 1, 10), turn("c", 2, 11), turn("a", 0, 12)])) == (
        "abc"
    )


@given(queue=queues)
def test_program_fcfs_never_lets_a_late_program_pass_an_early_one(queue: list[Turn]) -> None:
    for preempted in (True, False):
        arrivals = [
            turn.program.arrival
            for turn in order("program-fcfs", queue)
            if turn.preempted is preempted
        ]
        assert arrivals == sorted(arrivals)


def test_plas_puts_the_program_with_the_least_service_first() -> None:
    assert names(order("plas", [turn("a", 0, served=900), turn("b", 1, served=100)])) == "ba"


@pytest.mark.parametrize("name", ["lru", "lpm", "program-fcfs", "plas", "continuum"])
def test_preempted_turns_go_first(name: str) -> None:
    assert names(order(name, [turn("a", 0, 1.0), turn("p", 7, 3.0, preempted=True)])) == "pa"
