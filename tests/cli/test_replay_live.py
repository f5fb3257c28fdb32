"""`agentrt replay --engine`, on a socket. The runs themselves: tests/replay/live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentrt.cli.console import MAX_WIDTH
from agentrt.cli.main import run
from agentrt.replay.live.outputs import first_difference, read_outputs
from tests.replay.trace_files import program, turn
from tests.replay.workloads import agents, written
from tests.support.live_server import LiveServer
from tests.support.loopback_app import served as serving
from tests.support.processes import wait_until
from tests.support.scripted_engine import INFO

AGENTRT = Path(sys.executable).with_name("agentrt")
QUICK = ("--time-scale", "0.001", "--concurrency", "4")


@pytest.fixture(autouse=True)
def trace(home: Path) -> Path:
    """Six programs in the current folder."""
    return written(Path("agents.jsonl"), agents(6, first=60))


@pytest.fixture
def server() -> Iterator[LiveServer]:
    """An engine that answers at once."""
    yield from served(LiveServer())


@pytest.fixture
def other() -> Iterator[LiveServer]:
    """One with our plug-in and a key."""
    yield from served(LiveServer(info=INFO, key="sesame"))


def served(engine: LiveServer) -> Iterator[LiveServer]:
    with serving(engine.app()) as engine.url:
        yield engine


def replay(*arguments: str) -> int:
    return run(["replay", "agents.jsonl", *QUICK, *arguments])


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert replay(*arguments, "--json", "-") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# ----------------------------------------------------------------------- help


def test_help_names_every_option_for_live_engines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in (
        "engine", "engine-key", "model", "time-scale", "scale-tokens", "max-context", "repeats",
        "flush", "hints", "timeout", "vocab", "keep-going", "save-outputs",
    ):  # fmt: skip
        assert f"--{option} " in shown
    assert "AGENTRT_API_KEY" in shown


# ---------------------------------------------------------------------- table


def test_the_table_says_that_it_is_measured_and_on_what(
    capsys: pytest.CaptureFixture[str], server: LiveServer
) -> None:
    assert replay("--engine", server.url, "--seed", "1,2", "--repeats", "2") == 0
    shown = capsys.readouterr().out
    first, second, third = shown.splitlines()[:3]
    assert first == "MEASURED  agents.jsonl"
    assert second == f"sglang: {server.url}, sglang 0.5.23, tiny, 50,000 KV tokens"
    assert third == (
        "4 programs always active; 6 programs × 2 seeds × 2 repeats; pauses and arrivals × 0.001"
    )
    assert any(line.startswith("sglang  ") for line in shown.splitlines())
    assert "SIMULATED" not in shown
    assert "slow" not in shown.partition("JCT:")[0]
    assert max(len(line) for line in shown.splitlines()) <= MAX_WIDTH


def test_several_engines_are_compared_in_pairs(
    capsys: pytest.CaptureFixture[str], server: LiveServer, other: LiveServer
) -> None:
    engines = ["--engine", f"stock={server.url}", "--engine", f"ours={other.url}"]
    assert replay(*engines, "--engine-key", "ours=sesame", "--seed", "1-3", "--wide") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"ours: {other.url}, sglang 0.5.23, tiny, policy fcfs, 10,000 KV tokens" in lines
    assert any(line.startswith("× stock") and "prefilled tokens" in line for line in lines)
    (ratio,) = [line.split() for line in lines if line.startswith("ours") and " to " in line]
    assert ratio[-1] == "3"
    assert server.hints == []
    assert {hint["kind"] for _, hint in other.hints} == {"tool_started", "tool_finished"}


def test_the_key_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, other: LiveServer
) -> None:
    assert replay("--engine", other.url) == 1
    monkeypatch.setenv("AGENTRT_API_KEY", "sesame")
    assert replay("--engine", other.url, "--hints", "none") == 0
    assert other.hints == []


def test_programs_that_do_not_fit_are_left_out_and_noted(
    capsys: pytest.CaptureFixture[str], server: LiveServer
) -> None:
    giant = program("giant", turn(60_000, 60_000))
    written(Path("agents.jsonl"), [*agents(5, first=60), giant])
    found = document(capsys, "--engine", server.url)
    assert found["workload"]["excluded"] == 1
    assert found["rows"][0]["excluded"] == 1
    assert "1 program of the trace left out" in found["notes"][0]
    found = document(capsys, "--engine", server.url, "--scale-tokens", "0.1")
    assert found["workload"]["excluded"] == 0
    found = document(capsys, "--engine", server.url, "--scale-tokens", "0.1", "--max-context", "5k")
    assert found["workload"]["excluded"] == 1


# ----------------------------------------------------------------- load, files


def test_recorded_arrivals_and_rates_come_as_they_are_scaled(
    capsys: pytest.CaptureFixture[str], server: LiveServer
) -> None:
    quick = ["replay", "agents.jsonl", "--time-scale", "0.01", "--engine", server.url]
    assert run([*quick, "--arrivals", "trace"]) == 0
    assert "arrivals of the trace" in capsys.readouterr().out
    firsts = [asked.at_s for asked in server.asked if 60 <= len(asked.prompt) < 300]
    assert max(firsts) - min(firsts) > 0.02
    assert run([*quick, "--rate", "5", "-n", "10"]) == 0
    assert "5 programs per second (Poisson)" in capsys.readouterr().out


def test_every_file_is_made(server: LiveServer, other: LiveServer) -> None:
    pytest.importorskip("matplotlib")
    files = ["--html", "report.html", "--chrome-trace", "trace.json", "--save-outputs", "out.jsonl"]
    engines = ["--engine", f"stock={server.url}", "--engine", f"ours={other.url}"]
    assert replay(*engines, "--engine-key", "sesame", *files, "--json", "result.json") == 0
    assert "Measured on live engines" in Path("report.html").read_text()
    names = [
        event["args"]["name"]
        for event in json.loads(Path("trace.json").read_text())["traceEvents"]
        if event["name"] == "process_name"
    ]
    assert names == ["stock, seed 1", "ours, seed 1"]
    assert json.loads(Path("result.json").read_text())["engine"]["kind"] == "live"
    stock, ours = (read_outputs(Path("out.jsonl"), engine) for engine in ("stock", "ours"))
    assert len(stock) == 24
    assert first_difference(stock, ours) is None
    everything = [path.read_text() for path in Path().iterdir() if path.suffix != ".jsonl"]
    assert not any("sesame" in text for text in everything)


def test_the_command_in_the_result_repeats_it(
    capsys: pytest.CaptureFixture[str], server: LiveServer
) -> None:
    options = ["--scale-tokens", "0.5", "--pause-cap", "1", "--flush", "--hints", "tools"]
    found = document(capsys, "--engine", server.url, *options, "--seed", "3", "-n", "4")
    command = found["settings"]["command"].split()
    assert run([*command[1:], "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["settings"] == found["settings"]
    assert again["workload"] == found["workload"]


def test_lists_of_a_file_are_run(capsys: pytest.CaptureFixture[str], server: LiveServer) -> None:
    runs = [{"seed": 7, "programs": ["agent-1", "agent-2"], "arrival_s": [0.0, 1.0]}]
    Path("lists.json").write_text(json.dumps({"runs": runs}))
    arguments = ["--runs", "lists.json", "--time-scale", "0.01", "--engine", server.url]
    assert run(["replay", "agents.jsonl", *arguments, "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["seeds"], row["programs"]) == ([7], 2)


# ------------------------------------------------------------------- failures


def test_failed_programs_are_shown_and_make_the_command_fail(
    capsys: pytest.CaptureFixture[str], server: LiveServer
) -> None:
    server.fails = lambda asked: 500 if asked.program.startswith("agent-3.") else None
    assert replay("--engine", server.url) == 1
    shown = capsys.readouterr().out
    assert "\n  1 failed" in shown
    assert "note: sglang: 1 program failed; the first, agent-3, at turn 0: HTTP 500" in shown
    assert replay("--engine", server.url, "--keep-going") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "llama-3.1-8b-h200"], "--profile describes a simulated engine"),
        (["--kv-tokens", "4k"], "--kv-tokens describes a simulated engine"),
        (["--policy", "lru"], "--policy describes a simulated engine"),
        (["--workers", "2"], "--workers describes a simulated engine"),
        (["--bounds"], "--bounds describes a simulated engine"),
        (["--max-running", "4"], "--max-running describes a simulated engine"),
        (["--max-context", "10"], "no program fits 10 tokens"),
        (["--model", "giant"], "has no such model"),
        (["--engine", "h:1"], "--engine h:1: expected the URL of an engine"),
        (["--concurrency", "4", "--rate", "1"], "expected one of"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    capsys: pytest.CaptureFixture[str], server: LiveServer, arguments: list[str], says: str
) -> None:
    assert run(["replay", "agents.jsonl", "--engine", server.url, *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err


def test_options_for_live_engines_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "agents.jsonl", "--kv-tokens", "12k", "--time-scale", "0.5"]) == 1
    assert "--time-scale is for live engines: expected --engine URL" in capsys.readouterr().err


def test_nobody_at_the_address_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay("--engine", "http://127.0.0.1:9") == 1
    printed = capsys.readouterr().err
    assert "no engine answers at http://127.0.0.1:9" in printed
    assert "agentrt serve" in printed


# ------------------------------------------------------------------ interrupt


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_requests_at_once_and_writes_nothing(
    server: LiveServer, number: signal.Signals, status: int
) -> None:
    server.prefill_s = 600.0
    files = ["--json", "result.json", "--save-outputs", "out.jsonl"]
    # The warm-up request is not slow.
    with subprocess.Popen(
        [AGENTRT, "replay", "agents.jsonl", "--engine", server.url, *files],
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as command:
        wait_until(lambda: len(server.asked) == 6)
        os.killpg(command.pid, number)
        _, errors = command.communicate(timeout=20)
    assert command.returncode == status
    assert b"Traceback" not in errors
    assert b"interrupted" in errors
    assert [path.name for path in Path().iterdir()] == ["agents.jsonl"]
    wait_until(lambda: server.broken == 6)
