"""Rollout files of Codex."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt_engine.wire.trace import PauseKind, ToolRecord
from tests.replay.trace_files import load_jsonl, pauses, sizes


def line(second: float, kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-04-01T10:00:{second:06.3f}Z", "type": kind, "payload": payload}


def meta() -> dict[str, Any]:
    return line(0, "session_meta", id="thread", cwd="/work", cli_version="0.116.0")


def user(second: float) -> dict[str, Any]:
    return line(second, "response_item", type="message", role="user", content=[])


def call(second: float, name: str = "c") -> dict[str, Any]:
    return line(second, "response_item", type="function_call", name="shell", call_id=name)


def output(second: float, name: str = "c") -> dict[str, Any]:
    return line(second, "response_item", type="function_call_output", call_id=name, output="ok")


def count(second: float, total: int, tokens: int, out: int, cached: int = 0) -> dict[str, Any]:
    last = {"input_tokens": tokens, "output_tokens": out, "cached_input_tokens": cached}
    info = {
        "total_token_usage": {"input_tokens": total, "output_tokens": 0},
        "last_token_usage": last,
    }
    return line(second, "event_msg", type="token_count", info=info)


@pytest.mark.parametrize("counted_first", [True, False])
def test_each_new_token_count_is_a_turn(tmp_path: Path, counted_first: bool) -> None:
    reply = [count(4.0, 100, 100, 20), call(4.0)]
    trace = load_jsonl(
        tmp_path,
        meta(),
        user(1),
        *(reply if counted_first else reversed(reply)),
        output(9.0),
        count(9.5, 100, 100, 20),
        count(12.0, 250, 150, 5, cached=96),
    )
    assert trace.format is TraceFormat.CODEX
    (program,) = trace.programs
    assert program.program_id == "thread"
    assert sizes(program) == [(100, 100, 20), (150, 30, 5)]
    assert pauses(program) == [5.0, 0.0]
    assert program.turns[0].tools == (ToolRecord("shell", 5.0),)
    assert program.turns[0].pause_kind is PauseKind.TOOL


def test_a_wait_for_the_user_is_a_user_pause(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        meta(),
        user(1),
        count(4.0, 100, 100, 20),
        user(30),
        count(33.0, 250, 150, 5),
    ).programs
    assert program.turns[0].pause_kind is PauseKind.USER
    assert pauses(program) == [26.0, 0.0]


def test_counts_that_only_report_rate_limits_are_no_turns(tmp_path: Path) -> None:
    limits = line(2, "event_msg", type="token_count", info=None, rate_limits={})
    (program,) = load_jsonl(tmp_path, meta(), user(1), limits, count(4.0, 9, 9, 2)).programs
    assert len(program.turns) == 1


def test_a_rollout_without_counts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no token_count event"):
        load_jsonl(tmp_path, meta(), user(1))


def test_a_broken_count_names_line_and_field(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as error:
        load_jsonl(tmp_path, meta(), count(4.0, 100, 0, 20))
    assert "line 2, payload: info.last_token_usage.input_tokens is 0" in str(error.value)
