"""Mooncake, and the agentic form of Dynamo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt_engine.wire.trace import PauseKind, ToolRecord
from tests.replay.trace_files import load_jsonl, pauses, sizes


def row(tokens: int, ids: list[int], output: int = 10, **more: Any) -> dict[str, Any]:
    return {"input_length": tokens, "output_length": output, "hash_ids": ids} | more


def test_each_line_without_a_session_is_a_program_of_one_turn(tmp_path: Path) -> None:
    trace = load_jsonl(tmp_path, row(1000, [0, 1], timestamp=500), row(700, [0, 2], timestamp=2500))
    assert trace.format is TraceFormat.MOONCAKE
    assert [p.arrival_s for p in trace.programs] == [0.0, 2.0]
    assert [p.block_tokens for p in trace.programs] == [512, 512]


def test_equal_ids_of_different_programs_stay_equal(tmp_path: Path) -> None:
    first, second = load_jsonl(tmp_path, row(1000, [7, 1]), row(1000, [7, 2])).programs
    assert first.turns[0].hash_ids[0] == second.turns[0].hash_ids[0]
    assert first.turns[0].hash_ids[1] != second.turns[0].hash_ids[1]


def test_a_prompt_that_goes_on_past_the_reply_reuses_all_of_it(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        row(1000, [0, 1], 100, session_id="s", timestamp=0),
        row(2000, [0, 5, 6, 7], session_id="s", delay=1500),
    ).programs
    assert sizes(program) == [(1000, 1000, 100), (2000, 900, 10)]
    assert pauses(program) == [1.5, 0.0]


def test_a_prompt_that_differs_early_reuses_the_common_blocks(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        row(2048, [0, 1, 2, 3], session_id="s"),
        row(2560, [0, 9, 2, 3, 4], session_id="s", delay_ms=1),
    ).programs
    assert sizes(program)[1] == (2560, 2560 - 512, 10)


def test_a_prompt_too_short_for_the_reply_reuses_no_reply(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        row(1024, [0, 1], 300, session_id="s"),
        row(1100, [0, 1, 2], session_id="s", delay=1),
    ).programs
    assert sizes(program)[1] == (1100, 1100 - 1024, 10)


def test_without_delays_pauses_run_from_request_to_request_and_a_note_says_so(
    tmp_path: Path,
) -> None:
    trace = load_jsonl(
        tmp_path,
        row(600, [0, 1], session_id="s", timestamp=1000),
        row(900, [0, 2], session_id="s", timestamp=4000),
    )
    assert pauses(trace.programs[0]) == [3.0, 0.0]
    assert any("1 pause without delay" in note for note in trace.notes)


def test_the_block_size_is_the_one_that_fits_all_prompts(tmp_path: Path) -> None:
    trace = load_jsonl(tmp_path, row(1000, list(range(16))), row(640, list(range(10))))
    assert {program.block_tokens for program in trace.programs} == {64}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (row(0, []), "input_length is 0, expected int >= 1"),
        (row(5, [1], -1), "output_length is -1, expected int >= 0"),
        (row(5, [1], timestamp=-4), "timestamp is -4"),
        (row(5, ["a"]), 'hash_ids[0] is "a", expected int'),  # type: ignore[list-item]
        ({"input_length": 5, "output_length": 1}, "hash_ids is missing"),
    ],
)
def test_a_broken_line_names_line_and_field(
    tmp_path: Path, broken: dict[str, Any], says: str
) -> None:
    with pytest.raises(TraceError) as error:
        load_jsonl(tmp_path, row(5, [1]), broken)
    assert "trace.jsonl, line 2: " in str(error.value)
    assert says in str(error.value)


def test_ids_that_fit_no_block_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no usual block size fits"):
        load_jsonl(tmp_path, row(10_000, [1]), row(100, [1, 2, 3, 4]))


def test_a_session_that_another_waits_for_is_its_child(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        row(600, [0, 1], request_id="p1", session_id="P", timestamp=0, branches=["c1"]),
        row(500, [9], request_id="c1", session_id="C", wait_for=["p1"], delay=5, timestamp=100),
        row(550, [9, 8], request_id="c2", session_id="C", wait_for=["c1"], delay=20),
        row(900, [0, 2], request_id="p2", session_id="P", wait_for=["p1", "c2"], delay=40),
    )
    assert trace.format is TraceFormat.AGENTIC_MOONCAKE
    parent, child = trace.programs
    assert (child.program_id, child.parent_id) == ("C", "P")
    assert parent.turns[0].waits_for == ("C",)
    assert pauses(parent) == [0.04, 0.0]
    assert pauses(child) == [0.02, 0.0]
    assert child.arrival_s == 0.1


def test_tool_waits_are_part_of_the_pause(tmp_path: Path) -> None:
    event = {"tool_call_id": "1", "tool_class": "search", "duration_ms": 250.0}
    (program,) = load_jsonl(
        tmp_path,
        row(600, [0, 1], request_id="1", session_id="P", prefix_reset=True),
        row(
            *(900, [0, 2]),
            request_id="2",
            session_id="P",
            wait_for=["1"],
            delay=100,
            tool_wait_ms=250,
            tool_events=[event],
        ),
        row(1000, [0, 2], request_id="3", session_id="P", wait_for=["2"], tool_wait_ms=50),
    ).programs
    assert pauses(program) == [0.35, 0.05, 0.0]
    assert program.turns[0].tools == (ToolRecord("search", 0.25),)
    assert program.turns[1].tools == (ToolRecord("tool", 0.05),)
    assert program.turns[0].pause_kind is PauseKind.TOOL


def test_waiting_for_the_middle_of_another_session_is_left_out_with_a_note(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        row(600, [0, 1], request_id="a1", session_id="A", wait_for=[]),
        row(600, [5, 6], request_id="b1", session_id="B"),
        row(700, [5, 6], request_id="b2", session_id="B", wait_for=["b1"], delay=1),
        row(900, [0, 2], request_id="a2", session_id="A", wait_for=["a1", "b1", "x"], delay=1),
    )
    assert all(program.parent_id is None for program in trace.programs)
    assert any(note.startswith("1 wait for other sessions") for note in trace.notes)
    assert any(note.startswith("1 wait for requests outside the file") for note in trace.notes)


def test_the_versioned_form_has_a_header_and_typed_dependencies(tmp_path: Path) -> None:
    header = {"schema": "agentic_mooncake", "version": 1, "block_size": 100}
    depends = [{"request_id": "1", "trigger": "completion", "delay_ms": 30.0, "relation": "join"}]
    common: dict[str, Any] = {"play_id": "play", "session_id": "s"}
    trace = load_jsonl(
        tmp_path,
        header,
        row(150, [0, 1], request_id="1", not_before_ms=0.0, **common),
        row(250, [0, 2, 3], request_id="2", not_before_ms=9.0, dependencies=depends, **common),
    )
    (program,) = trace.programs
    assert program.program_id == "play/s"
    assert program.block_tokens == 100
    assert pauses(program) == [0.03, 0.0]


def test_a_request_id_may_occur_once(tmp_path: Path) -> None:
    twice = row(600, [0, 1], request_id="1", wait_for=[])
    with pytest.raises(TraceError, match='line 2: request_id "1" occurs twice'):
        load_jsonl(tmp_path, twice, twice)
