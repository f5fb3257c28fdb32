"""Which program a request belongs to, and in which order programs arrived."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy import Turn
from agentrt_engine.sglang.scheduler.programs import Live, LiveTurn, ProgramTable
from agentrt_engine.wire.identity import ProgramTag, tag_from_custom_params

PROMPT = array("q", range(20))


def identify(
    table: ProgramTable, tag: ProgramTag, prompt: array[int] = PROMPT, request: str = "r"
) -> Live:
    live, _new = table.identify(tag, prompt, request, 0.0)
    if not tag.program_id:
        table.remember_prompt(live, prompt)
    return live


def begin(live: Live) -> LiveTurn:
    turn = LiveTurn(Turn(live.program, 0.0, 1), live, 1)
    live.turns[turn] = None
    return turn


@given(st.lists(st.sampled_from("abcdef")))
def test_positions_follow_the_first_arrival(requests: list[str]) -> None:
    table = ProgramTable()
    positions = {name: identify(table, ProgramTag(name)).program.arrival for name in requests}
    assert positions == {name: i for i, name in enumerate(dict.fromkeys(requests))}
    assert [program.arrival for program in table.programs.values()] == sorted(positions.values())


def test_a_program_that_ended_counts_as_new_when_it_returns() -> None:
    table = ProgramTable()
    first = identify(table, ProgramTag("a"))
    table.remove(first)
    assert identify(table, ProgramTag("a")).program.arrival > first.program.arrival


def test_programs_of_different_keys_never_meet() -> None:
    table = ProgramTable()
    mine, theirs = (identify(table, ProgramTag("a", owner=key)) for key in ("k1", "k2"))
    assert mine is not theirs
    assert table.find("k1", "a") is mine
    assert table.find("", "a") is None


def test_a_guessed_name_in_flight_twice_is_two_programs() -> None:
    table = ProgramTable()
    tag = ProgramTag("hash", fallback=True)
    first = identify(table, tag)
    begin(first)
    second = identify(table, tag)
    assert second is not first
    assert second.program_id == "hash#2"


def test_a_guessed_name_goes_on_once_its_turn_is_over() -> None:
    table = ProgramTable()
    tag = ProgramTag("hash", fallback=True)
    first = identify(table, tag)
    turn = begin(first)
    del first.turns[turn]
    assert identify(table, tag) is first


def test_a_request_without_a_name_belongs_to_the_longest_prompt_it_begins_with() -> None:
    table = ProgramTable()
    nameless = ProgramTag("")
    short = identify(table, nameless, array("q", range(10)), "r1")
    begun = begin(short)
    other = identify(table, nameless, array("q", [*range(10), 99, 98]), "r2")
    del short.turns[begun]

    grown = array("q", [*range(10), 99, 98, 1, 2])
    assert identify(table, nameless, grown, "r3") is other
    assert identify(table, nameless, array("q", range(11)), "r4") is short
    assert identify(table, nameless, array("q", range(5, 30)), "r5") not in (short, other)


def test_a_request_without_a_name_never_joins_a_program_of_another_key() -> None:
    table = ProgramTable()
    mine = identify(table, ProgramTag("", owner="k1"), request="r1")
    assert identify(table, ProgramTag("", owner="k2"), request="r2") is not mine


def test_a_few_tokens_say_nothing_about_who_sent_them() -> None:
    table = ProgramTable()
    first = identify(table, ProgramTag(""), array("q", [1, 2]), "r1")
    assert identify(table, ProgramTag(""), array("q", [1, 2, 3]), "r2") is not first


def test_beyond_the_capacity_the_program_silent_for_longest_is_too_many() -> None:
    table = ProgramTable(capacity=2)
    a, b = identify(table, ProgramTag("a")), identify(table, ProgramTag("b"))
    assert table.overflow() is None
    identify(table, ProgramTag("c"))
    begin(a)
    assert table.overflow() is b


@pytest.mark.parametrize("parent", [None, "p"])
@pytest.mark.parametrize("final", [False, True])
def test_a_tag_travels_in_custom_params(parent: str | None, final: bool) -> None:
    tag = ProgramTag("x", parent_id=parent, final=final)
    assert tag_from_custom_params({"other": 1, **tag.custom_params()}) == tag


@pytest.mark.parametrize(
    "custom_params",
    [None, {}, {"other": {}}, {"agentrt": None}, {"agentrt": "x"}, {"agentrt": {"program_id": 7}}],
)
def test_anything_else_is_no_tag(custom_params: dict[str, Any] | None) -> None:
    assert tag_from_custom_params(custom_params) is None
