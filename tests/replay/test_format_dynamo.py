"""dynamo.request.trace.v1 and dynamo.agent.trace.v1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt_engine.wire.trace import ToolRecord
from tests.replay.trace_files import load_jsonl, pauses, sizes

SCHEMA = "dynamo.request.trace.v1"


def ended(start: int, end: int, context: dict[str, Any] | None, **request: Any) -> dict[str, Any]:
    fields = {"request_id": f"r{start}", "request_received_ms": start, "total_time_ms": end - start}
    event = {"schema": SCHEMA, "event_type": "request_end", "event_time_unix_ms": end + 3}
    event["request"] = fields | {"output_tokens": 20} | request
    return event if context is None else event | {"agent_context": context}


def tool(start: int, end: int, context: dict[str, Any], kind: str = "tool_end") -> dict[str, Any]:
    fields = {"tool_call_id": "c", "tool_class": "search", "started_at_unix_ms": start}
    return {
        "schema": SCHEMA,
        "event_type": kind,
        "event_time_unix_ms": end,
        "agent_context": context,
        "tool": fields | {"ended_at_unix_ms": end},
    }


ROOT = {"session_type_id": "research", "session_id": "run", "trajectory_id": "root"}
CHILD = {"session_id": "run", "trajectory_id": "child", "parent_trajectory_id": "root"}


def test_requests_of_a_trajectory_are_a_program_in_order_of_their_start(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        ended(3000, 3500, ROOT, input_tokens=200),
        tool(1600, 2900, ROOT),
        ended(1000, 1500, ROOT, input_tokens=100),
    )
    assert trace.format is TraceFormat.DYNAMO
    (program,) = trace.programs
    assert (program.program_id, program.agent) == ("root", "research")
    assert sizes(program) == [(100, 100, 20), (200, 80, 20)]
    assert pauses(program) == [1.5, 0.0]
    assert program.turns[0].tools == (ToolRecord("search", 1.3),)


def test_events_may_come_in_the_recorders_envelope(tmp_path: Path) -> None:
    bare = ended(1000, 1500, ROOT, input_tokens=100)
    wrapped = {"timestamp": 7, "event": bare}
    assert (
        load_jsonl(tmp_path, wrapped, name="a.jsonl").programs
        == load_jsonl(tmp_path, bare, name="b.jsonl").programs
    )


def test_replay_hashes_become_shared_blocks(tmp_path: Path) -> None:
    large = 2**63 + 11

    def replay(length: int, *hashes: int) -> dict[str, Any]:
        return {
            "trace_block_size": 64,
            "input_length": length,
            "input_sequence_hashes": list(hashes),
        }

    (program,) = load_jsonl(
        tmp_path,
        ended(1000, 1500, ROOT, replay=replay(128, large, 5)),
        ended(2000, 2500, ROOT, replay=replay(256, large, 5, 6, 7)),
    ).programs
    assert program.block_tokens == 64
    assert sizes(program) == [(128, 128, 20), (256, 108, 20)]
    assert program.turns[0].hash_ids == program.turns[1].hash_ids[:2]


def test_a_parent_waits_for_a_child_trajectory_between_its_turns(tmp_path: Path) -> None:
    parent, child = load_jsonl(
        tmp_path,
        ended(1000, 1500, ROOT, input_tokens=100),
        ended(1600, 2500, CHILD, input_tokens=50),
        ended(3000, 3500, ROOT, input_tokens=200),
    ).programs
    assert child.parent_id == "root"
    assert parent.turns[0].waits_for == ("child",)


def test_older_traces_call_trajectories_programs(tmp_path: Path) -> None:
    old = {"workflow_type_id": "research", "workflow_id": "w", "program_id": "p"}
    event = ended(1000, 1500, old, input_tokens=100) | {"schema": "dynamo.agent.trace.v1"}
    (program,) = load_jsonl(tmp_path, event).programs
    assert (program.program_id, program.agent) == ("p", "research")


def test_requests_without_context_are_programs_of_one_turn(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        ended(1000, 1500, None, input_tokens=100),
        ended(4000, 4500, None, input_tokens=100),
    )
    assert [(p.program_id, p.arrival_s) for p in trace.programs] == [("r1000", 0.0), ("r4000", 3.0)]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (ended(1000, 1500, ROOT), "request.input_tokens is null"),
        (ended(1000, 1500, ROOT, input_tokens=9, output_tokens=-1), "request.output_tokens is -1"),
        (ended(1000, 1500, ROOT, input_tokens="x"), 'request.input_tokens is "x"'),
    ],
)
def test_a_broken_event_names_line_and_field(
    tmp_path: Path, event: dict[str, Any], says: str
) -> None:
    with pytest.raises(TraceError) as error:
        load_jsonl(tmp_path, event)
    assert "line 1: " in str(error.value)
    assert says in str(error.value)
