"""`agentrt trace`. The formats: tests/replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentrt.cli.console import MAX_WIDTH
from agentrt.cli.main import run
from agentrt.replay.formats.catalog import TraceFormat, format_titles
from agentrt.replay.trace_file import load_trace
from agentrt_engine.wire.trace import TraceHeader
from tests.replay.trace_files import jsonl, program, turn

TRIE = {
    "num_turns": 1,
    "input_prompt_length": 100,
    "assistant_response_length": [10],
    "tool_call_output_length": [5],
    "tool_call_latency": [0.25],
    "final_assistant_response_length": 30,
}


@pytest.fixture
def trace() -> str:
    """A trace in the current folder: a program with a break, one without, a child."""
    programs = [
        program("wasteful", turn(1000, 1000), turn(2000, 2000), arrival_s=0.0),
        program("clean", turn(1000, 1000), turn(2000, 990), arrival_s=4.0),
        program("child", turn(50, 50), arrival_s=6.0, parent_id="clean"),
    ]
    lines = [TraceHeader({"model": "tiny"}).encode(), *(p.encode() for p in programs)]
    Path("run.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return "run.jsonl"


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    run([*arguments, "--json", "-"])
    return json.loads(capsys.readouterr().out)


def test_help_lists_the_formats_and_which_are_experimental(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["trace", "--help"]) == 0
    shown = capsys.readouterr().out
    for title in format_titles():
        assert title in shown


@pytest.mark.parametrize("command", ["inspect", "stats", "convert", "lint"])
def test_help_of_each_command_has_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(["trace", command, "--help"]) == 0
    assert f"agentrt trace {command} " in capsys.readouterr().out


def test_inspect_says_what_is_in_a_file(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "inspect", trace, "-n", "2"]) == 0
    shown = capsys.readouterr().out
    assert "agentrt.trace.v1" in shown
    assert "3 programs with 5 turns, 1 subagent" in shown
    assert "within 6.00 s" in shown
    assert "tiny" in shown
    assert "wasteful" in shown
    assert "… and 1 more program\n" in shown
    assert "child" not in shown


def test_inspect_as_json(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    inspected = json_of(capsys, "trace", "inspect", trace)
    assert inspected["format"] == "agentrt"
    assert inspected["experimental"] is False
    assert [line["program_id"] for line in inspected["first_programs"]] == [
        "wasteful",
        "clean",
        "child",
    ]


def test_notes_of_the_reader_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    silent = TRIE | {"final_assistant_response_length": 0}
    jsonl(Path("trie.jsonl"), silent)
    assert run(["trace", "inspect", "trie.jsonl"]) == 0
    assert "note: 1 turn without output: counted as 1 token each" in capsys.readouterr().out


def test_stats_of_several_files(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    jsonl(Path("trie.jsonl"), TRIE)
    assert run(["trace", "stats", trace, "trie.jsonl"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("run.jsonl") < shown.index("trie.jsonl  trie JSONL")
    assert "KV of 3 programs" in shown
    first, second = json_of(capsys, "trace", "stats", trace, "trie.jsonl")
    assert first["statistics"]["turns"] == 5
    assert second["statistics"]["pauses"][0]["seconds"]["mean"] == 0.25


def test_stats_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "stats"]) == 1
    assert "expected at least one FILE" in capsys.readouterr().err


def test_convert_writes_our_format_and_where_it_came_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jsonl(Path("trie.jsonl"), TRIE)
    assert run(["trace", "convert", "trie.jsonl", "-o", "new.jsonl.gz"]) == 0
    assert "1 program with 2 turns, from trie JSONL" in capsys.readouterr().out
    converted = load_trace(Path("new.jsonl.gz"))
    assert converted.format is TraceFormat.AGENTRT
    assert converted.metadata == {"source": "trie.jsonl", "source_format": "trie"}
    assert converted.programs == load_trace(Path("trie.jsonl")).programs


def test_convert_replaces_a_file_only_with_force(capsys: pytest.CaptureFixture[str]) -> None:
    jsonl(Path("trie.jsonl"), TRIE)
    Path("new.jsonl").write_text("precious")
    convert = ["trace", "convert", "trie.jsonl", "-o", "new.jsonl"]
    assert run(convert) == 1
    assert "new.jsonl exists already\nhint: replace it with --force" in capsys.readouterr().err
    assert Path("new.jsonl").read_text() == "precious"
    assert run([*convert, "--force"]) == 0
    assert len(load_trace(Path("new.jsonl")).programs) == 1


def test_a_file_that_cannot_be_read_leaves_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    jsonl(Path("trie.jsonl"), TRIE, TRIE | {"num_turns": 7})
    assert run(["trace", "convert", "trie.jsonl", "-o", "new.jsonl"]) == 1
    assert "error: trie.jsonl, line 2: " in capsys.readouterr().err
    assert not Path("new.jsonl").exists()


def test_lint_shows_causes_and_the_worst_programs(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trace", "lint", trace]) == 0
    shown = capsys.readouterr().out
    assert "1 of 2 follow-up turns do not extend the turn before; 1,010 tokens wasted" in shown
    assert "early change" in shown
    assert "wasteful" in shown
    report = json_of(capsys, "trace", "lint", trace)["report"]
    assert report["breaks"][0]["program_id"] == "wasteful"


@pytest.mark.parametrize(("share", "code"), [("0.1", 1), ("0.9", 0)])
def test_lint_fails_when_strict_and_too_much_is_wasted(trace: str, share: str, code: int) -> None:
    assert run(["trace", "lint", trace, "--strict", share]) == code


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([TRIE], "Clean: every follow-up turn extends the turn before (1 of 1)."),
        ([TRIE | {"final_assistant_response_length": None}], "Nothing to compare"),
    ],
)
def test_lint_of_a_clean_trace(
    capsys: pytest.CaptureFixture[str], lines: list[dict[str, Any]], says: str
) -> None:
    jsonl(Path("trie.jsonl"), *lines)
    assert run(["trace", "lint", "trie.jsonl"]) == 0
    assert says in capsys.readouterr().out


def test_a_share_outside_0_to_1_is_refused(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "lint", trace, "--strict", "5"]) == 1
    assert "--strict 5.0: expected a share from 0 to 1" in capsys.readouterr().err


def test_tables_are_at_most_100_columns_wide(capsys: pytest.CaptureFixture[str]) -> None:
    long = program("p" * 300, turn(10_000, 10_000), turn(20_000, 20_000, pause_s=1e6))
    Path("run.jsonl").write_bytes(TraceHeader({}).encode() + b"\n" + long.encode())
    for command in ("inspect", "stats", "lint"):
        assert run(["trace", command, "run.jsonl"]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= MAX_WIDTH


def test_names_in_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    odd = msgspec.structs.replace(program("[red]p", turn(9, 9)), agent="[bold]coder")
    Path("[run].jsonl").write_bytes(TraceHeader({}).encode() + b"\n" + odd.encode())
    assert run(["trace", "inspect", "[run].jsonl"]) == 0
    shown = capsys.readouterr().out
    assert "[run].jsonl  agentrt.trace.v1" in shown
    assert "[bold]coder × 1" in shown
    assert "[red]p" in shown


def test_a_forced_format_is_named_in_the_error(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trace", "inspect", trace, "--format", "codex"]) == 1
    assert "run.jsonl, line 1: timestamp is missing" in capsys.readouterr().err
