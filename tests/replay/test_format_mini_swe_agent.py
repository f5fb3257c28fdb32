"""Trajectories of mini-swe-agent 1.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt.replay.trace_file import Trace, load_trace
from agentrt_engine.wire.trace import PauseKind, ToolRecord
from tests.replay.trace_files import pauses, sizes

START: list[dict[str, Any]] = [
    {"role": "system", "content": "…"},
    {"role": "user", "content": "task"},
]


def reply(time: float, prompt: int, output: int) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": output}
    extra = {"timestamp": time, "response": {"usage": usage}, "actions": [{"command": "ls"}]}
    return {"role": "assistant", "content": "…", "extra": extra}


def observation(time: float, role: str = "tool") -> dict[str, Any]:
    return {"role": role, "content": "…", "extra": {"timestamp": time, "returncode": 0}}


def load(folder: Path, *messages: dict[str, Any], version: str = "mini-swe-agent-1.1") -> Trace:
    path = folder / "django__django-1.traj.json"
    document = {"info": {}, "messages": [*START, *messages], "trajectory_format": version}
    path.write_text(json.dumps(document, indent=2))
    return load_trace(path)


def test_tool_time_is_from_reply_to_observation(tmp_path: Path) -> None:
    trace = load(
        tmp_path,
        reply(100.0, 500, 30),
        observation(102.5),
        reply(110.0, 600, 40),
        observation(110.25, role="user"),
        {"role": "exit", "content": "", "extra": {"exit_status": "Submitted"}},
    )
    assert trace.format is TraceFormat.MINI_SWE_AGENT
    (program,) = trace.programs
    assert program.program_id == "django__django-1"
    assert sizes(program) == [(500, 500, 30), (600, 70, 40)]
    assert pauses(program) == [2.5, 0.0]
    assert [turn.tools for turn in program.turns] == [
        (ToolRecord("bash", 2.5),),
        (ToolRecord("bash", 0.25),),
    ]


def test_a_complaint_about_the_format_is_no_tool(tmp_path: Path) -> None:
    complaint = {"role": "user", "content": "…", "extra": {"interrupt_type": "FormatError"}}
    (program,) = load(tmp_path, reply(100.0, 500, 30), complaint, reply(104.0, 600, 40)).programs
    assert program.turns[0].tools == ()
    assert program.turns[0].pause_kind is PauseKind.MIXED


def test_replies_of_the_responses_api_carry_their_usage_themselves(tmp_path: Path) -> None:
    usage = {"input_tokens": 700, "output_tokens": 50}
    response = {"object": "response", "output": [], "usage": usage, "extra": {"timestamp": 5.0}}
    (program,) = load(tmp_path, response).programs
    assert sizes(program) == [(700, 700, 50)]


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="trajectory_format"):
        load(tmp_path, reply(1.0, 5, 5), version="mini-swe-agent-1")


def test_a_broken_count_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as error:
        load(tmp_path, reply(1.0, -5, 5))
    assert "messages[2].extra.response.usage.prompt_tokens is -5" in str(error.value)
