"""`agentrt replay`. Rows, lists and overload: tests/replay."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentrt.cli.console import MAX_WIDTH
from agentrt.cli.main import run
from agentrt_engine.policy import policy_names
from tests.replay.trace_files import program, turn
from tests.replay.workloads import agents, written
from tests.support.processes import left_after, living, wait_until

AGENTRT = Path(sys.executable).with_name("agentrt")
SMALL = ("replay", "agents.jsonl", "--kv-tokens", "12k", "--workers", "1")


@pytest.fixture(autouse=True)
def trace(home: Path) -> Path:
    """Twelve programs that fill twelve thousand tokens, in the current folder."""
    return written(Path("agents.jsonl"), agents(12))


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run([*SMALL, *arguments, "--json", "-"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that cannot work prints; in one line each, error and hint."""
    assert run(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


# ----------------------------------------------------------------------- help


def test_help_teaches_by_examples_and_names_every_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["replay", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("agentrt replay agents.jsonl.gz") >= 4
    for option in (
        "policy", "profile", "kv-tokens", "rate", "concurrency", "arrivals", "runs", "cell",
        "programs", "seed", "chunk", "max-running", "page", "pause-cap", "host-tokens",
        "host-gbps", "host-latency-ms", "sweep", "bounds", "no-bounds", "workers", "format",
        "json", "html", "chrome-trace", "wide", "lora-sharing", "lora-rank", "adapters",
    ):  # fmt: skip
        assert f"--{option} " in shown
    assert "Experimental" in shown
    for policy in policy_names():
        assert policy in shown


# ---------------------------------------------------------------------- table


def test_the_table_says_that_it_is_simulated_and_what_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SMALL, "--concurrency", "4", "--seed", "1,2", "-n", "30"]) == 0
    shown = capsys.readouterr().out
    first, second, third = shown.splitlines()[:3]
    assert first == "SIMULATED  agents.jsonl"
    assert second == "Llama 3.1 8B on H200, 12,000 KV tokens; 4 programs always active"
    assert third == "30 programs × 2 seeds"
    for row in ("lru", "continuum", "oracle-retention", "infinite-kv", "isolated"):
        assert any(line.startswith(row) for line in shown.splitlines())
    assert "±" in shown


def test_no_line_is_wider_than_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    long = "continuum:reading=pressure,static-cap:programs=12"
    assert run([*SMALL, "--policy", f"lru,{long}", "--sweep", "2,4,8,16", "--seed", "1-3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= MAX_WIDTH
    assert any("16 active" in line for line in lines)


def test_wide_shows_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--wide"]) == 0
    shown = capsys.readouterr().out
    for heading in ("recompute", "decode", "wall", "turns", "p50"):
        assert heading in shown
    assert "…" not in shown


def test_without_bounds_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "--no-bounds", "--policy", "lru")
    assert [row["policy"] for row in found["rows"]] == ["lru"]


def test_a_run_that_is_mostly_filling_and_draining_is_noted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SMALL, "--concurrency", "8"]) == 0
    assert "note: 12 programs with 8 active:" in capsys.readouterr().out
    assert run([*SMALL, "--concurrency", "8", "-n", "24"]) == 0
    assert "note:" not in capsys.readouterr().out


def test_programs_left_out_and_subagents_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    parent = program("parent", turn(100, 100, waits_for=("child",)), turn(200, 90))
    child = program("child", turn(100, 100), parent_id="parent")
    giant = program("giant", turn(11_900, 11_900))
    written(Path("agents.jsonl"), [*agents(50), giant, parent, child])
    assert run([*SMALL]) == 0
    shown = capsys.readouterr().out
    assert "note: 1 program of the trace left out" in shown
    assert "note: the trace has 1 subagent" in shown


def test_an_overloaded_cell_is_marked_and_the_way_out_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SMALL, "--policy", "lru", "--rate", "50", "-n", "200"]) == 0
    shown = capsys.readouterr().out
    assert "\n  overloaded" in shown
    assert "note: overloaded: lru" in shown
    (command,) = [line.split() for line in shown.splitlines() if "agentrt replay" in line]
    assert command[:3] == ["agentrt", "replay", "agents.jsonl"]
    assert "--concurrency" in command
    assert "--rate" not in command
    assert run(command[1:]) == 0
    assert "overloaded" not in capsys.readouterr().out


# ----------------------------------------------------------------------- json


def test_the_document_has_the_shape_of_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "--rate", "0.5", "--seed", "2,4", "--policy", "lru,lpm")
    assert list(found) == ["schema", "workload", "engine", "settings", "rows"]
    assert found["schema"] == "agentrt.replay.v1"
    assert found["workload"] == {
        "files": ["agents.jsonl"],
        "format": "agentrt",
        "programs": 12,
        "turns": 48,
        "children": 0,
        "excluded": 0,
    }
    assert found["engine"]["kind"] == "simulated"
    assert found["engine"]["profile"] == "llama-3.1-8b-h200"
    assert found["settings"]["rate"] == 0.5
    row = found["rows"][0]
    assert list(row)[:17] == [
        "policy", "seeds", "programs", "excluded", "overloaded", "jct_mean_s", "jct_seed_means_s",
        "jct_p50_s", "jct_p95_s", "jct_p99_s", "slowdown_p99", "slowdown_max", "ttft_mean_s",
        "recomputed_per_new", "hit_rate", "throughput_per_1000_s", "wall_s",
    ]  # fmt: skip
    assert row["seeds"] == [2, 4]
    assert row["programs"] == 24


@pytest.mark.parametrize(
    "load", [["--rate", "0.5"], ["--concurrency", "4"], ["--arrivals", "trace"]]
)
def test_the_command_in_the_result_repeats_it(
    capsys: pytest.CaptureFixture[str], load: list[str]
) -> None:
    found = document(capsys, *load, "--chunk", "512", "--pause-cap", "0.5", "--sweep", "2,4")
    command = found["settings"]["command"].split()
    assert run([*command[1:], "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)
    for row in (*found["rows"], *again["rows"]):
        del row["wall_s"]
    assert again == found


def test_json_in_a_file_leaves_stdout_to_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--json", "result.json"]) == 0
    assert "SIMULATED" in capsys.readouterr().out
    assert json.loads(Path("result.json").read_text())["schema"] == "agentrt.replay.v1"


# ---------------------------------------------------------------- other files


def test_a_report_and_a_chrome_trace(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    files = ["--html", "report.html", "--chrome-trace", "trace.json.gz"]
    assert run([*SMALL, "--policy", "lru,continuum", "--seed", "1,2", *files]) == 0
    page = Path("report.html").read_text()
    assert "SIMULATED replay of agents.jsonl" in page
    # The runs are short, so there is a sweep although none was asked for.
    assert "has no sweep" not in page
    events = json.loads(gzip.decompress(Path("trace.json.gz").read_bytes()))["traceEvents"]
    names = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert names == ["lru, seed 1", "continuum, seed 1"]


def test_a_file_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, *SMALL, "--chrome-trace", "agents.jsonl/trace.json")
    assert "cannot write the Chrome trace" in message


# ---------------------------------------------------------------------- lists


def test_lists_of_a_file_bring_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    cell = {
        "workload": "agents",
        "kv_tokens": 12_000,
        "concurrency": 3,
        "runs": [
            {"seed": 7, "programs": ["agent-1", "agent-2", "agent-1"]},
            {"seed": 8, "programs": ["agent-5"]},
        ],
    }
    settings = {"chunk": 1024, "pause_cap_s": 0.25, "profile": "llama-3.1-8b-a100"}
    Path("lists.json").write_text(json.dumps({"settings": settings, "cells": [cell]}))
    assert run(["replay", "agents.jsonl", "--runs", "lists.json", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["seeds"] == [7, 8]
    assert found["rows"][0]["programs"] == 4
    assert found["engine"]["profile"] == "llama-3.1-8b-a100"
    kept = {key: found["settings"][key] for key in ("kv_tokens", "chunk", "pause_cap_s")}
    assert kept == {"kv_tokens": 12_000, "chunk": 1024, "pause_cap_s": 0.25}
    given = ["--chunk", "256", "--kv-tokens", "12k", "--seed", "8"]
    assert run(["replay", "agents.jsonl", "--runs", "lists.json", *given, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["chunk"] == 256
    assert found["rows"][0]["seeds"] == [8]


def test_a_host_tier_changes_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    tier = ["--host-tokens", "1M", "--host-gbps", "64", "--host-latency-ms", "0.1"]
    busy = ["--policy", "lru", "--no-bounds", "--concurrency", "12", "-n", "60"]
    without, with_tier = document(capsys, *busy), document(capsys, *busy, *tier)
    assert with_tier["settings"]["host_tokens"] == 1_000_000
    assert with_tier["rows"][0]["host_hit_tokens"] > 0
    assert with_tier["rows"][0]["hit_rate"] > without["rows"][0]["hit_rate"]


# ------------------------------------------------------------------- adapters


def test_modes_of_lora_sharing_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    modes = ["--adapters", "3", "--lora-sharing", "off,base-lr", "--policy", "lru,guard"]
    assert run([*SMALL, *modes, "--concurrency", "4", "-n", "24"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "3 LoRA adapters of rank 8; LoRA sharing off, base-lr"
    names = [line.split("  ")[0] for line in lines]
    names = names[names.index("LoRA sharing off") :]
    at = names.index("LoRA sharing base-lr")
    rows = ["lru", "guard", "oracle-retention", "infinite-kv", "isolated"]
    assert names[1:at] == names[at + 1 : at + 6] == rows
    assert max(map(len, lines)) <= MAX_WIDTH


def test_the_command_in_the_result_repeats_modes_of_lora_sharing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    modes = ["--adapters", "3", "--lora-rank", "64", "--lora-sharing", "off, alora"]
    found = document(capsys, *modes, "--policy", "lru", "--no-bounds")
    assert [row["lora_sharing"] for row in found["rows"]] == ["off", "alora"]
    kept = {key: found["settings"][key] for key in ("adapters", "lora_rank", "lora_sharing")}
    assert kept == {"adapters": 3, "lora_rank": 64, "lora_sharing": ["off", "alora"]}
    assert run([*shlex.split(found["settings"]["command"])[1:], "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)
    for row in (*found["rows"], *again["rows"]):
        del row["wall_s"]
    assert again == found


def test_modes_make_no_difference_to_a_trace_without_adapters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SMALL, "--lora-sharing", "base"]) == 0
    shown = capsys.readouterr().out
    assert "note: no program of the trace has an adapter" in shown
    usual, based = (
        document(capsys, "--policy", "lru,guard", *mode)["rows"]
        for mode in ([], ["--lora-sharing", "base"])
    )
    for row in (*usual, *based):
        del row["wall_s"]
    assert usual == based


# --------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["replay"], "no trace was given", "agentrt replay FILE --kv-tokens 400k"),
        (["replay", "agents.jsonl"], "--kv-tokens is missing", "52 GB with llama-3.1-8b-h200"),
        (["replay", "nothing.jsonl", "--kv-tokens", "1k"], "nothing.jsonl", ""),
        ([*SMALL, "--policy", "gaurd"], "unknown policy 'gaurd'", ""),
        ([*SMALL, "--policy", "lru:k=1"], "policy lru has no parameter 'k'", ""),
        ([*SMALL, "--policy", ","], "--policy is empty", "--policy lru"),
        ([*SMALL, "--profile", "h20"], "no profile and no file 'h20'", ""),
        ([*SMALL, "--rate", "1", "--concurrency", "2"], "--concurrency and --rate are given", ""),
        ([*SMALL, "--cell", "1"], "--cell 1: expected --runs FILE with it", ""),
        ([*SMALL, "--runs", "none.json"], "--runs none.json: No such file", ""),
        ([*SMALL, "--host-gbps", "64"], "expected --host-tokens", "--host-tokens 4M"),
        ([*SMALL, "--seed", "x"], "--seed x: expected a whole number or a range", ""),
        ([*SMALL, "--sweep", "0"], "--sweep 0: '0' is not a whole number", ""),
        (["replay", "agents.jsonl", "--kv-tokens", "10"], "expected at least a page", ""),
        (["replay", "agents.jsonl", "--kv-tokens", "1k"], "no program fits 1,000", "--kv-tokens"),
        ([*SMALL, "--arrivals", "trace", "--seed", "1,2"], "every seed is the same", ""),
        ([*SMALL, "--lora-sharing", "lr"], "--lora-sharing lr: expected one of off, alora", ""),
        (
            [*SMALL, "--lora-sharing", "off,base", "--sweep", "2"],
            "--lora-sharing off,base: --sweep, --html and --chrome-trace show one",
            "--lora-sharing base",
        ),
        (
            ["replay", "agents.jsonl", "--engine", "http://127.0.0.1:1", "--adapters", "2"],
            "--adapters describes a simulated engine",
            "",
        ),
    ],
)
def test_what_cannot_be_replayed_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, hint: str
) -> None:
    message = refused(capsys, *arguments)
    assert says in message
    assert hint in message.partition("hint:")[2]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--rate", "0"), ("--rate", "nan"), ("--concurrency", "0"), ("-n", "-1"), ("--page", "0")],
)
def test_numbers_out_of_range_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert run([*SMALL, option, value]) == 2
    assert "expected" in capsys.readouterr().err


# ------------------------------------------------------------------ interrupt


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_file_and_no_process(
    home: Path, workers: int, number: signal.Signals, status: int
) -> None:
    written(Path("agents.jsonl"), agents(40, turns=30))
    endless = ["-n", "100000", "--workers", str(workers), "--json", "result.json"]
    with subprocess.Popen(
        [AGENTRT, "replay", "agents.jsonl", "--kv-tokens", "100k", *endless],
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as command:
        # Far into the simulation: by then it has used more time than any start takes.
        wait_until(lambda: cpu_s(command.pid) > 2 or len(living(home)) > workers)
        os.killpg(command.pid, number)
        _, errors = command.communicate(timeout=20)
    assert command.returncode == status
    assert b"Traceback" not in errors
    assert left_after(5, home) == {}
    assert [path.name for path in Path().iterdir()] == ["agents.jsonl"]


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
