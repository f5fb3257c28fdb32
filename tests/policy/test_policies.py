"""The policies by name, and the order in which each puts a waiting queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy import (
    DEFAULT_POLICY,
    BasePolicy,
    EngineView,
    Gate,
    Lease,
    Program,
    Turn,
    live_policy_names,
    make_live_policy,
    make_policy,
    policy_names,
    policy_parameters,
)
from tests.support.fake_engine import FakeEngine


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


#: Why no live engine can run them.
SIMULATED_ONLY = {
    "oracle-pauses": "knows the future",
    "oracle-work": "knows the future",
    "oracle-retention": "pretends memory that does not exist",
    "infinite-kv": "pretends memory that does not exist",
}

RETAINING = {
    "guard",
    "guard-srpt",
    "fixed-ttl",
    "continuum",
    "infercept",
    "thunder",
    "asym",
    "oracle-pauses",
    "oracle-work",
}


def test_the_default_can_run_live() -> None:
    assert DEFAULT_POLICY == "guard"
    assert DEFAULT_POLICY in live_policy_names()


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
def test_a_live_engine_refuses_what_only_a_simulated_one_can_do(name: str) -> None:
    assert (name in live_policy_names()) is (name not in SIMULATED_ONLY)
    if name in live_policy_names():
        assert make_live_policy(name).name == name
        return
    with pytest.raises(UnknownPolicy) as caught:
        make_live_policy(name)
    message = f"policy '{name}' {SIMULATED_ONLY[name]}, so only agentrt replay can run it"
    assert message in str(caught.value)
    assert "oracle" not in str(caught.value).partition("expected")[2]


def test_a_live_policy_takes_parameters_and_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from agentrt_engine.policy import BasePolicy\n"
        "class Mine(BasePolicy):\n"
        "    name = 'mine'\n"
        "    knows_future = True\n"
    )
    assert make_live_policy("fixed-ttl:seconds=5").name == "fixed-ttl"
    with pytest.raises(UnknownPolicy, match="knows the future"):
        make_live_policy(str(file))
    with pytest.raises(UnknownPolicy, match="unknown policy 'oracle'"):
        make_live_policy("oracle")


@pytest.mark.parametrize("name", policy_names())
def test_a_policy_retains_if_it_decides_which_idle_kv_yields(name: str) -> None:
    policy = make_policy(name)
    assert policy.retains is (name in RETAINING)
    assert not (policy.retains and policy.order_only)


def test_a_policy_may_say_that_it_does_not_retain() -> None:
    class Notes(BasePolicy):
        retains = False

        def lease(self, now: float, program: Program, engine: EngineView) -> Lease | None:
            return None

    assert not Notes.retains


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


@pytest.mark.parametrize("name", ["program-fcfs", "continuum", "infercept", "guard", "guard-srpt"])
def test_a_program_of_higher_priority_goes_first_and_its_children_with_it(name: str) -> None:
    early, late, child, usual = (Program(each, at, float(at)) for at, each in enumerate("elcu"))
    late.priority = 0.5
    child.parent, late.children = late, (child,)
    # A child's own priority does not count.
    child.priority = -7.0
    policy = make_policy(name)
    turns = []
    for program in (early, late, child, usual):
        policy.program_started(0.0, program)
        turns.append(Turn(program, 0.0, prompt_tokens=1))
    assert names(sorted(turns, key=lambda turn: policy.rank(0.0, turn))) == "lceu"
    usual.priority = 1.0
    policy.hinted(0.0, usual)
    assert names(sorted(turns, key=lambda turn: policy.rank(0.0, turn))) == "ulce"
    late.priority = -1.0
    policy.hinted(0.0, late)
    assert names(sorted(turns, key=lambda turn: policy.rank(0.0, turn))) == "uelc"


def test_aimd_counts_programs_of_higher_priority_first() -> None:
    members = [Program(str(at), at, 0.0) for at in range(20)]
    policy = make_policy("aimd")
    engine = FakeEngine(programs={each.program_id: each for each in members})
    for each in members:
        policy.program_started(0.0, each)
    members[19].priority = 1.0
    policy.hinted(0.0, members[19])
    policy.open_gate(0.0, engine)
    admitted = [policy.admit(0.0, Turn(each, 0.0, 1), engine) is Gate.OPEN for each in members]
    assert admitted == [True] * 7 + [False] * 12 + [True]
