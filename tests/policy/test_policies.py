"""What each policy does with a waiting queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy import DEFAULT_POLICY, WaitingTurn, make_policy, policy_names

queues = st.lists(
    st.builds(
        WaitingTurn,
        turn_id=st.uuids().map(str),
        program_arrival=st.integers(0, 5),
        queued_s=st.floats(0, 100),
        preempted=st.booleans(),
    ),
    unique_by=lambda turn: turn.turn_id,
)


def ids(turns: list[WaitingTurn]) -> str:
    return "".join(turn.turn_id for turn in turns)


def test_the_names_and_the_default() -> None:
    assert policy_names() == ["lru", "program-fcfs"]
    assert DEFAULT_POLICY == "program-fcfs"


@pytest.mark.parametrize("name", policy_names())
def test_a_policy_bears_its_registered_name(name: str) -> None:
    assert make_policy(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"), [("program_fcfs", "did you mean program-fcfs?"), ("zzz", "")]
)
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    with pytest.raises(UnknownPolicy, match=f"{name}.*expected one of lru, program-fcfs") as caught:
        make_policy(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize("name", policy_names())
@given(queue=queues)
def test_no_turn_is_lost_or_doubled(name: str, queue: list[WaitingTurn]) -> None:
    before = list(queue)
    ordered = make_policy(name).order(queue)
    assert sorted(ordered, key=repr) == sorted(queue, key=repr)
    assert queue == before


@given(queue=queues)
def test_lru_leaves_the_queue_as_it_is(queue: list[WaitingTurn]) -> None:
    assert make_policy("lru").order(queue) == queue


def test_program_fcfs_puts_the_returning_turn_of_an_early_program_first() -> None:
    queue = [WaitingTurn("b", 1, 10.0), WaitingTurn("c", 2, 11.0), WaitingTurn("a", 0, 12.0)]
    assert ids(make_policy("program-fcfs").order(queue)) == "abc"


def test_program_fcfs_keeps_the_order_within_a_program() -> None:
    queue = [WaitingTurn("b", 1, 10.0), WaitingTurn("y", 0, 12.0), WaitingTurn("x", 0, 11.0)]
    assert ids(make_policy("program-fcfs").order(queue)) == "xyb"


def test_program_fcfs_puts_preempted_turns_first() -> None:
    queue = [WaitingTurn("a", 0, 10.0), WaitingTurn("p", 7, 3.0, preempted=True)]
    assert ids(make_policy("program-fcfs").order(queue)) == "pa"


@given(queue=queues)
def test_program_fcfs_never_lets_a_late_program_pass_an_early_one(
    queue: list[WaitingTurn],
) -> None:
    for preempted in (True, False):
        arrivals = [
            turn.program_arrival
            for turn in make_policy("program-fcfs").order(queue)
            if turn.preempted is preempted
        ]
        assert arrivals == sorted(arrivals)
