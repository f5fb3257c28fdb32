"""Entries of BFCL as the package ships them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrt.schema import bounded
from agentrt_tools.bench.spread import spread
from agentrt_tools.bfcl.calls import parse
from agentrt_tools.bfcl.entries import MORE_FUNCTIONS, MULTI_TURN, Entry, load_multi_turn


@pytest.fixture(scope="module", params=MULTI_TURN)
def entries(request: pytest.FixtureRequest, data: Path) -> list[Entry]:
    return load_multi_turn(data, request.param)


def test_there_are_200_in_each_category(entries: list[Entry]) -> None:
    assert len({entry.entry_id for entry in entries}) == 200
    assert all(entry.entry_id.startswith(entry.category) for entry in entries)


def test_every_turn_of_the_user_has_a_reference(entries: list[Entry]) -> None:
    for entry in entries:
        assert len(entry.turns) == len(entry.reference) > 0
        assert all(turn.prompt for turn in entry.turns)
        assert any(entry.reference)


def test_a_decoder_can_be_held_to_every_function(entries: list[Entry]) -> None:
    for entry in entries:
        for function in entry.functions:
            schema = bounded({**function.parameters, "additionalProperties": False})
            assert schema["type"] == "object", function.name


def test_every_reference_call_can_be_made_when_it_is_due(entries: list[Entry]) -> None:
    early = set()
    for entry in entries:
        listed = {each.name for each in entry.functions}
        late = {each.name: each for turn in entry.turns for each in turn.added}
        functions = {each.name: each for each in entry.functions} | late
        for turn, calls in zip(entry.turns, entry.reference, strict=True):
            listed |= {each.name for each in turn.added}
            for source in calls:
                name, arguments = parse(source, functions)
                assert arguments.keys() <= functions[name].parameters["properties"].keys(), source
                if name not in listed:
                    early.add(entry.entry_id)
    assert early <= {"multi_turn_miss_func_49"}  # the package's own mistake


def test_functions_that_are_held_back_come_later(data: Path) -> None:
    entries = load_multi_turn(data, "multi_turn_miss_func")
    for entry in entries:
        early = {each.name for each in entry.functions}
        [late] = [turn for turn in entry.turns if turn.added]
        assert late.prompt == MORE_FUNCTIONS
        assert not early & {each.name for each in late.added}


def test_entries_are_taken_from_all_over() -> None:
    numbers = list(range(200))
    assert spread(numbers, 4) == [0, 50, 100, 150]
    assert spread(numbers, None) == spread(numbers, 500) == numbers
