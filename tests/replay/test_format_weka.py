"""weka / AgentX sessions with nested subagents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt.replay.trace_file import load_trace
from agentrt_engine.wire.trace import PauseKind
from tests.replay.trace_files import jsonl, load_jsonl, pauses, sizes


def request(t: float, tokens: int, out: int = 8, first: int = 0, **more: Any) -> dict[str, Any]:
    """A request over consecutive blocks of 16 tokens."""
    ids = list(range(first, first + tokens // 16))
    fields = {"t": t, "type": "n", "in": tokens, "out": out, "hash_ids": ids}
    return fields | {"api_time": 1.0, "think_time": 0.0, "stop": "tool_use"} | more


def session(name: str, *requests: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"id": name, "block_size": 16, "hash_id_scope": "local"}
    return fields | {"requests": list(requests)} | more


def subagent(t: float, seconds: float, *requests: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"t": t, "type": "subagent", "agent_id": "agent_001", "subagent_type": "Explore"}
    return fields | {"duration_ms": seconds * 1000, "requests": list(requests)} | more


def test_think_time_is_the_pause_and_stop_says_for_what(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        session(
            "s",
            request(0.0, 160),
            request(4.0, 320, think_time=3.0, stop="end_turn"),
            request(60.0, 480, think_time=55.0),
        ),
    )
    assert trace.format is TraceFormat.WEKA
    (program,) = trace.programs
    assert sizes(program) == [(160, 160, 8), (320, 152, 8), (480, 152, 8)]
    assert pauses(program) == [3.0, 55.0, 0.0]
    kinds = [turn.pause_kind for turn in program.turns]
    assert kinds == [PauseKind.TOOL, PauseKind.USER, PauseKind.FINAL]


def test_without_think_time_the_pause_is_from_end_to_start(tmp_path: Path) -> None:
    later = request(10.0, 320)
    del later["think_time"]
    (program,) = load_jsonl(tmp_path, session("s", request(2.0, 160), later)).programs
    assert pauses(program) == [7.0, 0.0]


def test_a_parent_waits_for_a_subagent_between_two_of_its_turns(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        session(
            "s",
            request(0.0, 160),
            subagent(2.0, 9.0, request(0.0, 64, first=50), request(5.0, 96, first=50)),
            request(12.0, 320, think_time=11.0),
        ),
    )
    parent, child = trace.programs
    assert (child.program_id, child.parent_id, child.agent) == ("s/agent_001", "s", "Explore")
    assert child.arrival_s == 2.0
    assert parent.turns[0].waits_for == ("s/agent_001",)
    assert trace.notes == []


def test_a_subagent_that_overlaps_a_turn_of_its_parent_is_not_waited_for(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        session(
            "s",
            request(0.0, 160),
            subagent(2.0, 30.0, request(0.0, 64, first=50)),
            request(12.0, 320),
            request(60.0, 480),
        ),
    )
    parent, child = trace.programs
    assert child.parent_id == "s"
    assert all(turn.waits_for == () for turn in parent.turns)
    assert trace.notes == ["1 subagent not waited for: its run overlaps turns of its parent"]


def test_subagents_nest(tmp_path: Path) -> None:
    inner = subagent(1.0, 1.0, request(0.0, 32, first=90), agent_id="inner")
    outer = subagent(2.0, 9.0, request(0.0, 64, first=50), inner, request(5.0, 96, first=50))
    trace = load_jsonl(tmp_path, session("s", request(0.0, 160), outer, request(12.0, 320)))
    names = {program.program_id: program.parent_id for program in trace.programs}
    assert names == {
        "s": None,
        "s/agent_001": "s",
        "s/agent_001/inner": "s/agent_001",
    }
    assert trace.programs[2].arrival_s == 3.0


@pytest.mark.parametrize(("scope", "shared"), [("local", False), ("global", True)])
def test_ids_of_scope_local_mean_nothing_in_another_session(
    tmp_path: Path, scope: str, shared: bool
) -> None:
    first, second = load_jsonl(
        tmp_path,
        session("a", request(0.0, 160), hash_id_scope=scope),
        session("b", request(0.0, 160), hash_id_scope=scope),
    ).programs
    same = first.turns[0].hash_ids == second.turns[0].hash_ids
    assert same is shared


def test_one_object_may_span_many_lines(tmp_path: Path) -> None:
    document = session("s", request(0.0, 160))
    path = tmp_path / "s.json"
    path.write_text(json.dumps(document, indent=2))
    one_line = jsonl(tmp_path / "s.jsonl", document)
    assert load_trace(path).programs == load_trace(one_line).programs


def test_a_missing_field_is_named_by_its_path(tmp_path: Path) -> None:
    broken = request(3.0, 64)
    del broken["out"]
    with pytest.raises(TraceError, match=r"line 1: requests\[1\].out is null, expected a number"):
        load_jsonl(tmp_path, session("s", request(0.0, 160), broken))
