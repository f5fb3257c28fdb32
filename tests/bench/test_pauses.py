"""Pauses that are added to tools."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, median

import pytest

from agentrt.errors import SettingError, TraceError
from agentrt_tools.bench.figures import figures
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.bfcl.entries import Entry
from tests.bench.conftest import run_reference

TRACE = Path(__file__).parents[2] / "traces/repo_detective.jsonl"


def drawn(spec: str, count: int = 4_000) -> list[float]:
    pauses = Pauses(spec, seed=7)
    assert pauses.injected
    values = [pauses.seconds("entry", call) for call in range(count)]
    assert all(0 <= value <= pauses.longest_s for value in values)
    return values


def test_nothing_is_added_unless_it_is_asked_for() -> None:
    assert Pauses().seconds("entry", 0) == 0
    assert not Pauses().injected


def test_distributions_are_what_they_are_called() -> None:
    assert set(drawn("dist:fixed:0.5")) == {0.5}
    assert fmean(drawn("dist:uniform:1,3")) == pytest.approx(2, rel=0.05)
    assert fmean(drawn("dist:exp:2")) == pytest.approx(2, rel=0.1)
    assert median(drawn("dist:lognormal:2,1")) == pytest.approx(2, rel=0.1)
    pareto = drawn("dist:pareto:1.2,0.3,3")
    assert median(pareto) == pytest.approx(0.3 * 2 ** (1 / 1.2), rel=0.05)
    assert (min(pareto) >= 0.3, max(pareto)) == (True, 3)


def test_those_of_a_trace_are_its_tool_times() -> None:
    lines = [json.loads(line) for line in TRACE.read_text().splitlines()[1:]]
    times = {
        tool["seconds"]
        for line in lines
        for turn in line["turns"]
        for tool in turn.get("tools", ())
    }
    assert set(drawn(f"trace:{TRACE}")) <= times


def test_each_call_has_its_own_and_the_same_again() -> None:
    one, other = Pauses("dist:exp:1", seed=1), Pauses("dist:exp:1", seed=1)
    assert one.seconds("a", 0) == other.seconds("a", 0)
    different = {one.seconds("a", 0), one.seconds("a", 1), one.seconds("b", 0)}
    assert len(different | {Pauses("dist:exp:1", seed=2).seconds("a", 0)}) == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "expected measured, trace:FILE or dist:NAME:NUMBERS"),
        ("trace:", "expected measured, trace:FILE or dist:NAME:NUMBERS"),
        ("slow", "expected measured, trace:FILE or dist:NAME:NUMBERS"),
        ("dist:normal:1", "unknown distribution 'normal', expected one of fixed, uniform"),
        ("dist:exp", "exp takes 1 numbers above 0"),
        ("dist:exp:-1", "exp takes 1 numbers above 0"),
        ("dist:exp:inf", "exp takes 1 numbers above 0"),
        ("dist:uniform:1", "uniform takes 2 numbers above 0"),
        ("dist:pareto:a,b,c", "pareto takes 3 numbers above 0"),
    ],
)
def test_what_is_none(spec: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Pauses(spec)


def test_a_trace_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TraceError):
        Pauses(f"trace:{tmp_path / 'none.jsonl'}")


def test_they_are_part_of_the_calls_and_said_to_be_injected(
    tmp_path: Path, base: list[Entry]
) -> None:
    pauses = Pauses("dist:fixed:0.1")
    [result] = run_reference(base[:1], trace=tmp_path / "trace.jsonl", pauses=pauses)
    assert result.valid
    assert result.injected_s == pytest.approx(0.1 * result.tool_calls)
    assert result.injected_s < result.tool_s < result.seconds
    [row] = figures([result])
    assert row["injected_mean_s"] == pytest.approx(result.injected_s)
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    tools = [tool for turn in json.loads(lines[1])["turns"] for tool in turn.get("tools", ())]
    assert all(tool["seconds"] >= 0.1 for tool in tools)


def test_a_pause_does_not_use_up_the_time_of_a_tool(base: list[Entry]) -> None:
    [result] = run_reference(base[:1], pauses=Pauses("dist:fixed:0.6"), tool_timeout=0.5)
    assert result.valid, result.message
