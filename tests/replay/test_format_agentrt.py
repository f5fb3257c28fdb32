"""agentrt.trace.v1 as the recorder writes it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt.replay.trace_file import load_trace
from tests.replay.trace_files import jsonl, load_jsonl, sizes

HEADER = {"format": "agentrt.trace.v1", "model": "tiny"}


def a_turn(**changes: Any) -> dict[str, Any]:
    fields = {"input_tokens": 9, "new_tokens": 9, "output_tokens": 2}
    return fields | {"pause_s": 0.5, "pause_kind": "tool"} | changes


def a_program(*turns: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"program_id": "p", "agent": "a", "turns": list(turns)} | changes


def test_programs_and_the_headers_free_entries(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path, HEADER, a_program(a_turn(), a_turn(input_tokens=30, new_tokens=19))
    )
    assert trace.format is TraceFormat.AGENTRT
    assert trace.metadata == {"model": "tiny"}
    assert sizes(trace.programs[0]) == [(9, 9, 2), (30, 19, 2)]
    assert trace.notes == []


def test_pauses_and_tool_durations_may_be_unknown(tmp_path: Path) -> None:
    untimed = a_turn(pause_s=None, tools=[{"name": "bash", "seconds": None}])
    (program,) = load_jsonl(tmp_path, HEADER, a_program(untimed)).programs
    assert program.turns[0].pause_s is None
    assert program.turns[0].tools[0].seconds is None


def test_a_turn_without_output_gets_one_token_and_a_note(tmp_path: Path) -> None:
    trace = load_jsonl(tmp_path, HEADER, a_program(a_turn(output_tokens=0), a_turn()))
    assert [turn.output_tokens for turn in trace.programs[0].turns] == [1, 2]
    assert trace.notes == ["1 turn without output: counted as 1 token each"]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (a_program(), "turns is [], expected at least one turn"),
        (a_program(a_turn(input_tokens=0)), "turns[0].input_tokens is 0, expected at least 1"),
        (a_program(a_turn(new_tokens=10)), "new_tokens is 10, expected 0 to input_tokens, 9"),
        (a_program(a_turn(new_tokens=-1)), "new_tokens is -1"),
        (a_program(a_turn(output_tokens=-3)), "output_tokens is -3, expected not below 0"),
        (a_program(a_turn(), a_turn(pause_s=-1.0)), "turns[1].pause_s is -1.0"),
        (a_program(a_turn(pause_s=float("nan"))), "turns[0].pause_s is nan, expected a finite"),
        (a_program(a_turn(pause_kind="lunch")), 'turns[0].pause_kind is "lunch"'),
        (a_program(a_turn(input_tokens="9")), 'turns[0].input_tokens is "9", expected int'),
        (
            a_program(a_turn(tools=[{"name": "ls", "seconds": -2.0}])),
            "turns[0].tools[0].seconds is -2.0",
        ),
        ({"agent": "a", "turns": []}, "program_id is missing"),
        ({"program_id": "p", "agent": "a", "turns": [{}]}, "turns[0].input_tokens is missing"),
        (a_program(a_turn(), arrival_s=-1.0), "arrival_s is -1.0"),
        (a_program(a_turn(hash_ids=[1])), "block_tokens is null"),
        (
            a_program(a_turn(hash_ids=[1, 2, 3, 4]), block_tokens=4),
            "hash_ids has 4 blocks of 4 tokens, expected 2 or 3 for 9 tokens",
        ),
    ],
)
def test_a_broken_line_names_file_line_and_field(
    tmp_path: Path, broken: dict[str, Any], says: str
) -> None:
    path = jsonl(tmp_path / "run.jsonl", HEADER, a_program(a_turn(), program_id="q"), broken)
    with pytest.raises(TraceError) as error:
        load_trace(path)
    assert str(error.value).startswith(f"{path}, line 3: ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ([a_program(a_turn()), a_program(a_turn())], 'program_id is "p"'),
        ([a_program(a_turn(waits_for=["gone"]))], "waits_for names 'gone'"),
        ([a_program(a_turn(waits_for=["q"])), a_program(a_turn(), program_id="q")], "names 'q'"),
        ([a_program(a_turn(), parent_id="p")], "no program among its own ancestors"),
        (
            [
                a_program(a_turn(), parent_id="q"),
                a_program(a_turn(), program_id="q", parent_id="p"),
            ],
            "no program among its own ancestors",
        ),
    ],
)
def test_programs_that_do_not_fit_together_are_refused(
    tmp_path: Path, programs: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(TraceError, match=r"trace\.jsonl") as error:
        load_jsonl(tmp_path, HEADER, *programs)
    assert says in str(error.value)


def test_a_trace_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no program"):
        load_jsonl(tmp_path, HEADER)


def test_the_header_is_needed_when_the_format_is_forced(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "run.jsonl", a_program(a_turn()))
    with pytest.raises(TraceError, match="line 1: expected the header"):
        load_trace(path, format=TraceFormat.AGENTRT)


def test_gzip_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "plain.jsonl", HEADER, a_program(a_turn()))
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load_trace(packed).programs == load_trace(plain).programs
