"""The harness itself: reference solutions pass, and without their last calls they fail.

All 800 of both: `agentrt bench bfcl multi_turn --model ground-truth`, `ground-truth-incomplete`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agentrt.replay.trace_file import load_trace
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.bench.spread import spread
from agentrt_tools.bfcl.entries import MULTI_TURN, Entry, load_multi_turn
from tests.bench.conftest import run_reference

SAMPLE = 40


@pytest.fixture(scope="module", params=MULTI_TURN)
def sample(request: pytest.FixtureRequest, data: Path) -> list[Entry]:
    return spread(load_multi_turn(data, request.param), SAMPLE)


def test_reference_solutions_pass(sample: list[Entry]) -> None:
    results = run_reference(sample)
    assert [each for each in results if not each.valid] == []
    assert sum(each.tool_calls for each in results) == sum(
        len(calls) for entry in sample for calls in entry.reference
    )


def test_without_the_last_calls_they_fail(sample: list[Entry]) -> None:
    results = run_reference(sample, complete=False)
    assert [each.entry for each in results if each.valid] == []
    # Of the checker's own reasons, none of ours.
    assert {each.problem.partition(":")[0] for each in results} == {"multi_turn"}


def test_entries_do_not_see_each_other(base: list[Entry]) -> None:
    """The same entry twelve times at once: each has tool back ends of its own."""
    results = run_reference([base[0]] * 12)
    assert Counter(each.valid for each in results) == {True: 12}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, base: list[Entry]) -> tuple[Path, EntryResult]:
    path = tmp_path_factory.mktemp("traced") / "trace.jsonl"
    [result] = run_reference(base[:1], trace=path)
    return path, result


def test_calls_are_noted_as_they_were_made(
    traced: tuple[Path, EntryResult], base: list[Entry]
) -> None:
    _path, result = traced
    assert [len(calls) for calls in result.calls] == [len(calls) for calls in base[0].reference]
    assert result.calls[0][0] == "cd(folder='document')"
    assert result.answers == ("Done.",) * 4
    assert 0 < result.tool_s < result.seconds


def test_the_trace_has_the_entry_as_a_program(traced: tuple[Path, EntryResult]) -> None:
    path, result = traced
    [program] = load_trace(path).programs
    assert (program.program_id, program.agent) == (result.program_id, "multi_turn_base")
    assert len(program.turns) == result.turns == 14
    assert [tool.name for turn in program.turns for tool in turn.tools][:3] == ["cd", "mkdir", "mv"]
    assert sum(turn.input_tokens for turn in program.turns) == result.input_tokens
