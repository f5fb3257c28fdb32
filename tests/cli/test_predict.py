"""`agentrt predict eval`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentrt.cli.main import run

TRACE = str(Path(__file__).parents[2] / "traces" / "repo_detective.jsonl")


def test_it_prints_how_good_predictions_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "eval", TRACE]) == 0
    out = capsys.readouterr().out
    assert "60 pauses" in out
    assert "per-tool CDF" in out and "tool, history, arguments" in out
    assert all(len(line) <= 100 for line in out.splitlines()[1:])


def test_json_has_all_that_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["predict", "eval", TRACE, TRACE, "--json", "-"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == second
    assert first["predictors"][0]["relative_loss"] == 1.0
    assert {"0.5", "0.95"} <= first["predictors"][-1]["covered"].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no trace was given"),
        ([TRACE, "--active", "0"], "--active is 0: expected at least 1"),
        (["missing.jsonl"], "missing.jsonl"),
    ],
)
def test_wrong_use_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["predict", "eval", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_trace_without_tools_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "talk.jsonl"
    turn = {"input_tokens": 5, "new_tokens": 5, "output_tokens": 5, "pause_s": 0.0}
    program = {"program_id": "p", "agent": "a", "turns": [{**turn, "pause_kind": "final"}]}
    trace.write_text(f'{{"format": "agentrt.trace.v1"}}\n{json.dumps(program)}\n')
    assert run(["predict", "eval", str(trace)]) == 1
    assert "no pause for a tool has a known length" in capsys.readouterr().err
