"""`agentrt bench`."""

from __future__ import annotations

import importlib.metadata
import json
import signal
from pathlib import Path

import pytest

from agentrt.cli.main import run
from agentrt.testing import answer
from tests.support.processes import Command, finished, wait_until
from tests.support.scripted_engine import INFO, ScriptedEngine


def test_the_reference_model_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = ["bench", "bfcl", "multi_turn", "--model", "ground-truth", "--out", str(out)]
    assert run([*common, "--limit", "2", "--json", "-"]) == 0
    [row] = json.loads(capsys.readouterr().out)["policies"]
    assert (row["policy"], row["entries"], row["valid"], row["score"]) == ("none", 8, 8, 1.0)
    assert set(row["score_by_category"].values()) == {1.0}
    assert {path.name for path in out.iterdir()} == {"results.jsonl", "trace.jsonl"}
    assert len((out / "results.jsonl").read_text().splitlines()) == 1 + 8

    assert run([*common, "--limit", "3"]) == 0  # the four first of each category are not new
    printed = capsys.readouterr()
    assert "going on after 8 results" in printed.err
    assert max(map(len, printed.out.splitlines())) <= 100
    names = [line.split()[0] for line in printed.out.splitlines() if line.startswith("multi_turn")]
    assert names == [
        "multi_turn_base",
        "multi_turn_miss_func",
        "multi_turn_miss_param",
        "multi_turn_long_context",
    ]
    header = json.loads((out / "trace-2.jsonl").read_text().splitlines()[0])
    assert (header["benchmark"], header["pauses"]) == ("bfcl", "measured")
    assert header["pauses_injected"] is False


def test_any_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its policy is asked for, replies are streamed, and a wrong score is no failure of the run."""
    with ScriptedEngine([answer("I would rather not.")] * 4, info=INFO) as engine:
        arguments = ["--url", engine.url, "--limit", "1", "--out", str(tmp_path), "--json", "-"]
        assert run(["bench", "bfcl", *arguments]) == 0
    [row] = json.loads(capsys.readouterr().out)["policies"]
    assert (row["policy"], row["valid"], row["turns"]) == ("fcfs", 0, 4)
    assert row["problems"] == {"multi_turn:empty_turn_model_response": 1}
    assert row["ttft_mean_s"] > 0


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    arguments = ["bench", "bfcl", "--model", "ground-truth", "--limit", "60", "--out", "out"]
    results = tmp_path / "out/results.jsonl"
    with Command(*arguments, "--parallel", "1", folder=tmp_path) as command:
        wait_until(lambda: results.exists() and results.read_text().count("\n") > 3)
        command.send(signal.SIGINT)
        end = command.done()
    assert end.code == 130
    assert "hint: the same with --out out goes on" in end.err
    before = results.read_text().count("\n") - 1
    assert 3 <= before < 60
    end = finished(*arguments, folder=tmp_path)
    assert end.code == 0, end.err
    assert f"going on after {before} results" in end.err
    lines = [json.loads(line) for line in results.read_text().splitlines()[1:]]
    assert len({line["entry"] for line in lines}) == len(lines) == 60
    assert all(line["valid"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit is 0: expected at least 1"),
        (["--parallel", "0"], "--parallel is 0: expected at least 1"),
        (["--call-limit", "0"], "--call-limit is 0: expected at least 1"),
        (["--max-tokens", "-1"], "--max-tokens is -1: expected at least 1"),
        (["--tool-timeout", "0"], "--tool-timeout is 0: expected more than 0"),
        (["--policy", "lru,nonsense"], "unknown policy 'nonsense'"),
        (["--policy", "lru", "--url", "http://x"], "--policy is of an engine that this command"),
        (["--policy", "lru", "--model", "ground-truth"], "--policy is of an engine that this"),
        (["--model", "nowhere", "--limit", "1"], "no model 'nowhere'"),
    ],
)
def test_settings_that_cannot_be(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["bench", "bfcl", "--out", str(tmp_path / "out"), *arguments]) == 1
    assert f"error: {message}" in capsys.readouterr().err


def test_an_unknown_category(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "bfcl", "multi_turn_bass"]) == 2
    assert "multi_turn_base" in capsys.readouterr().err


def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "bfcl-eval":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert run(["bench", "bfcl"]) == 1
    printed = capsys.readouterr().err
    assert "error: bfcl-eval is not installed" in printed
    assert "hint: agentrt bench install bfcl" in printed
    assert run(["bench", "install", "bfcl", "--dry-run"]) == 0
    assert capsys.readouterr().out == "pip install --no-deps bfcl-eval==2026.3.23\n"


def test_another_version_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.0" if name == "bfcl-eval" else real(name)
    )
    assert run(["bench", "bfcl"]) == 1
    expected = "error: bfcl-eval 1.0 is installed, expected bfcl-eval==2026.3.23"
    assert expected in capsys.readouterr().err


def test_installed_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "install", "bfcl"]) == 0
    printed = capsys.readouterr().err
    assert printed.startswith("bfcl-eval==2026.3.23, mpmath==1.3.0, ")
    assert "nothing to do" in printed
