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
    positions = {program: table.arrival(program) for program in requests}
    assert positions == {program: i for i, program in enumerate(dict.fromkeys(requests))}
    assert len(table) == len(positions)


def test_a_request_without_a_program_takes_a_position_and_no_room() -> None:
    table = ProgramTable()
    assert [table.arrival("a"), table.anonymous_arrival(), table.arrival("b")] == [0, 1, 2]
    assert len(table) == 2


def test_a_program_that_ended_counts_as_new_when_it_returns() -> None:
    table = ProgramTable()
    table.arrival("a")
    table.forget("a")
    table.forget("never seen")
    assert table.arrival("a") == 1


def test_the_program_seen_longest_ago_is_forgotten_first() -> None:
    table = ProgramTable(capacity=2)
    first, second = table.arrival("a"), table.arrival("b")
    assert table.arrival("a") == first
    table.arrival("c")
    assert len(table) == 2
    assert table.arrival("a") == first
    assert table.arrival("b") > second


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
