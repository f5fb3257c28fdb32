"""Arrival positions of programs, and which requests carry a program."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.sglang.programs import ProgramTable
from agentrt_engine.wire.identity import ProgramTag, tag_from_custom_params


@given(st.lists(st.sampled_from("abcdef")))
def test_positions_follow_the_first_arrival(requests: list[str]) -> None:
    table = ProgramTable()
    positions = {name: table.program(name, 0.0).arrival for name in requests}
    assert positions == {name: i for i, name in enumerate(dict.fromkeys(requests))}
    assert len(table) == len(positions)


def test_a_request_without_a_program_takes_a_position_and_no_room() -> None:
    table = ProgramTable()
    programs = table.program("a", 0.0), table.anonymous("r1", 1.0), table.program("b", 2.0)
    assert [program.arrival for program in programs] == [0, 1, 2]
    assert [program.arrival_s for program in programs] == [0.0, 1.0, 2.0]
    assert len(table) == 2


def test_a_program_that_ended_counts_as_new_when_it_returns() -> None:
    table = ProgramTable()
    table.program("a", 0.0)
    table.forget("a")
    table.forget("never seen")
    assert table.program("a", 1.0).arrival == 1


def test_the_program_seen_longest_ago_is_forgotten_first() -> None:
    table = ProgramTable(capacity=2)
    first, second = table.program("a", 0.0), table.program("b", 0.0)
    assert table.program("a", 1.0) is first
    table.program("c", 2.0)
    assert len(table) == 2
    assert table.program("a", 3.0) is first
    assert table.program("b", 3.0).arrival > second.arrival


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
