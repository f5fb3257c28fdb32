"""`agentrt bench swebench`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from agentrt.cli.main import run
from agentrt.testing import says
from tests.bench.adder import COLLECT, HAND_IN, SOLUTION, does, row, written
from tests.support.processes import Command, finished, wait_until
from tests.support.scripted_engine import INFO, ScriptedEngine


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Four instances that are alike but for their names."""
    rows = [row(instance_id=f"agentrt__adder-{number}") for number in range(1, 5)]
    return str(written(tmp_path / "adders.jsonl", *rows))


def test_solutions_pass_and_nothing_does_not(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = ["bench", "swebench", "--data", data]
    assert run([*common, "--model", "gold", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert max(map(len, printed.out.splitlines())) <= 100
    assert "100.0%" in printed.out
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    instance = "instances/none/agentrt__adder-1"
    assert {path for path in files if "adder-" not in path or "adder-1" in path} == {
        "results.jsonl",
        "trace.jsonl",
        "predictions-none.jsonl",
        f"{instance}/agentrt__adder-1.traj.json",
        f"{instance}/patch.diff",
        f"{instance}/report.json",
        f"{instance}/test_output.txt",
    }
    predictions = [
        json.loads(line) for line in (out / "predictions-none.jsonl").read_text().splitlines()
    ]
    assert {tuple(each) for each in predictions} == {
        ("instance_id", "model_name_or_path", "model_patch")
    }
    assert all("+    return a + b" in each["model_patch"] for each in predictions)
    header, *programs = map(json.loads, (out / "trace.jsonl").read_text().splitlines())
    assert header["benchmark"] == "swebench"
    assert len(programs) == 4
    signatures = [
        tool["signature"] for turn in programs[0]["turns"] for tool in turn.get("tools", ())
    ]
    assert signatures == [
        "git log",
        "nl",
        "pytest",
        "git apply",
        "pytest",
        "git diff",
        "echo",
    ]

    arguments = [*common, "--model", "empty", "--out", str(tmp_path / "empty"), "--json", "-"]
    assert run(arguments) == 0
    [figures] = json.loads(capsys.readouterr().out)["policies"]
    assert (figures["entries"], figures["valid"]) == (4, 0)
    assert figures["problems"] == {"patch:empty": 4}


def test_any_engine(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [does(SOLUTION), does(COLLECT), does(HAND_IN)]
    with ScriptedEngine(steps, info=INFO) as engine:
        arguments = ["--url", engine.url, "--out", str(tmp_path / "out"), "--json", "-"]
        assert run(["bench", "swebench", "agentrt__adder-3", "--data", data, *arguments]) == 0
    [figures] = json.loads(capsys.readouterr().out)["policies"]
    assert (figures["policy"], figures["valid"], figures["turns"]) == ("fcfs", 1, 3)
    assert figures["ttft_mean_s"] > 0
    [line] = (tmp_path / "out/predictions-fcfs.jsonl").read_text().splitlines()
    assert json.loads(line)["model_name_or_path"] == "default"


def test_what_there_is(capsys: pytest.CaptureFixture[str], data: str) -> None:
    assert run(["bench", "swebench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 1 + 12
    assert max(map(len, lines)) <= 100
    assert run(["bench", "swebench", "--list", "--data", data, "--limit", "2", "--json", "-"]) == 0
    listed = json.loads(capsys.readouterr().out)["instances"]
    assert [each["instance_id"] for each in listed] == ["agentrt__adder-1", "agentrt__adder-3"]
    assert (listed[0]["fail_to_pass"], listed[0]["pass_to_pass"]) == (2, 1)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    rows = [row(instance_id=f"agentrt__adder-{number}") for number in range(20)]
    written(tmp_path / "adders.jsonl", *rows)
    arguments = ["bench", "swebench", "--data", "adders.jsonl", "--model", "gold", "--out", "out"]
    results = tmp_path / "out/results.jsonl"
    with Command(*arguments, "--parallel", "1", folder=tmp_path) as command:
        wait_until(lambda: results.exists() and results.read_text().count("\n") > 2)
        command.send(signal.SIGINT)
        end = command.done()
    assert end.code == 130, end.err
    assert "hint: the same with --out out goes on" in end.err
    before = results.read_text().count("\n") - 1
    assert 2 <= before < 20
    end = finished(*arguments, folder=tmp_path)
    assert end.code == 0, end.err
    assert f"going on after {before} results" in end.err
    lines = [json.loads(line) for line in results.read_text().splitlines()[1:]]
    assert len({line["entry"] for line in lines}) == len(lines) == 20
    assert all(line["valid"] for line in lines)
    assert len((tmp_path / "out/predictions-none.jsonl").read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step-limit", "0"], "--step-limit is 0: expected at least 1"),
        (["--test-timeout", "0"], "--test-timeout is 0: expected more than 0"),
        (["--policy", "lru", "--model", "gold"], "--policy is of an engine that this command"),
        (
            ["--environment", "docker"],
            "cannot run agentrt__adder-1 with --environment docker: it has no",
        ),
        (["--config", "nowhere"], "--config nowhere: no configuration of mini-swe-agent"),
        (["--config", "=1"], "--config =1: no configuration of mini-swe-agent"),
        (["--config", "swebench"], "--config swebench: it wants tool calls, expected one for"),
        (["nobody__nothing-1"], "there is no instance 'nobody__nothing-1' in the data set"),
    ],
)
def test_settings_that_cannot_be(
    arguments: list[str],
    message: str,
    data: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(["bench", "swebench", "--data", data, "--out", str(out), *arguments]) == 1
    assert f"error: {message}" in capsys.readouterr().err
    assert not out.exists()


def test_a_configuration_in_a_file(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(
        "agent:\n  system_template: You mend.\n"
        "  instance_template: '{{task}} Answer <do>...</do>'\n"
        "model:\n  action_regex: '<do>(.*?)</do>'\n  observation_template: '{{output.output}}'\n"
        "  format_error_template: '{{error}}'\n"
    )
    commands = (SOLUTION, COLLECT, HAND_IN)
    with ScriptedEngine([says(f"<do>{each}</do>") for each in commands]) as engine:
        arguments = ["--url", engine.url, "--config", str(config), "--out", str(tmp_path / "out")]
        command = ["bench", "swebench", "agentrt__adder-1", "--data", data, *arguments]
        assert run([*command, "--json", "-"]) == 0
        prompt = engine.requests[0].body["messages"]
    assert [each["content"] for each in prompt] == [
        "You mend.",
        "add(1, 1) is 0, expected 2. Answer <do>...</do>",
    ]
    [figures] = json.loads(capsys.readouterr().out)["policies"]
    assert figures["valid"] == 1
    config.write_text("agent: {}\nmodel: {}\n")
    assert run(command) == 1
    assert f"--config {config}: without format_error_template, " in capsys.readouterr().err


def test_two_policies_on_engines_of_their_own(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default model, which gets nowhere: the same transcripts whoever schedules."""
    arguments = ["--policy", "lru,guard", "--dtype", "float32", "--kv-tokens", "8192"]
    limits = ["--limit", "2", "--parallel", "2", "--step-limit", "2", "--max-tokens", "16"]
    out = ["--out", str(tmp_path / "out"), "--json", "-"]
    assert run(["bench", "swebench", "--data", data, *arguments, *limits, *out]) == 0
    rows = json.loads(capsys.readouterr().out)["policies"]
    assert [(each["policy"], each["entries"], each["turns"]) for each in rows] == [
        ("lru", 2, 4),
        ("guard", 2, 4),
    ]
    assert rows[1]["differing"] == 0
    assert rows[0]["problems"] == {"agent:LimitsExceeded": 2}
    assert {path.name for path in (tmp_path / "out").glob("predictions*")} == {
        "predictions-lru.jsonl",
        "predictions-guard.jsonl",
    }
