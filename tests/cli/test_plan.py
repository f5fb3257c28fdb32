"""`agentrt plan`. The search itself: tests/replay/test_capacity.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentrt.cli.console import MAX_WIDTH
from agentrt.cli.main import run
from tests.replay.workloads import agents, written

SMALL = ("plan", "agents.jsonl", "-n", "100")
COARSE = ("--tolerance", "0.2")


@pytest.fixture(autouse=True)
def trace(home: Path) -> Path:
    """Twelve programs that fill twelve thousand tokens, in the current folder."""
    return written(Path("agents.jsonl"), agents(12))


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run([*SMALL, *COARSE, *arguments, "--json", "-"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("agentrt plan agents.jsonl.gz") == 3
    for option in ("kv-tokens", "policy", "factor", "tolerance", "target-rate", "seed", "json"):
        assert f"--{option} " in shown


def test_the_table_has_a_line_per_policy_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--kv-tokens", "12k,100k", "--policy", "lru,continuum"]
    assert run([*SMALL, *COARSE, *sizes, "--target-rate", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "SIMULATED  agents.jsonl"
    assert max(map(len, lines)) <= MAX_WIDTH
    assert sum("lru" in line for line in lines) == 2
    assert sum("continuum" in line for line in lines) == 2
    assert any(line.lstrip().startswith("100,000") for line in lines)
    assert any("20 per s" in line for line in lines)


def test_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(
        capsys, "--kv-tokens", "12k", "--policy", "lru", "--seed", "1,2", "--target-rate", "20"
    )
    assert found["schema"] == "agentrt.plan.v1"
    assert found["engine"]["kind"] == "simulated"
    assert found["settings"]["seeds"] == [1, 2]
    assert found["settings"]["tolerance"] == 0.2
    (row,) = found["rows"]
    assert (row["policy"], row["kv_tokens"]) == ("lru", 12_000)
    assert row["factor_rate"] <= row["stable_rate"]
    assert row["engines_needed"] == -(-20 // row["stable_rate"])
    assert [probe["rate"] for probe in row["probes"]] == sorted(
        probe["rate"] for probe in row["probes"]
    )


def test_the_result_repeats_itself_whatever_the_number_of_processes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    search = ("--kv-tokens", "12k", "--policy", "lru,lpm", "--workers")
    assert document(capsys, *search, "1") == document(capsys, *search, "2")


def test_json_in_a_file_leaves_stdout_to_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--kv-tokens", "12k", "--policy", "lru", "--json", "plan.json"]) == 0
    assert "SIMULATED" in capsys.readouterr().out
    assert json.loads(Path("plan.json").read_text())["schema"] == "agentrt.plan.v1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "--kv-tokens", "1k"], "no trace was given"),
        (["plan", "agents.jsonl"], "--kv-tokens is missing"),
        (["plan", "agents.jsonl", "--kv-tokens", "12k,x"], "--kv-tokens x: expected a number"),
        (["plan", "agents.jsonl", "--kv-tokens", "12k", "--policy", "nope"], "unknown policy"),
        (["plan", "agents.jsonl", "--kv-tokens", "1k"], "no program fits 1,000 KV tokens"),
    ],
)
def test_what_cannot_be_planned_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert run(arguments) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--factor", "--tolerance", "--target-rate"])
def test_numbers_out_of_range_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run([*SMALL, "--kv-tokens", "12k", option, "0"]) == 2
    assert "greater than 0" in capsys.readouterr().err
