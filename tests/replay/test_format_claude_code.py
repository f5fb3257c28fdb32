"""Session files of Claude Code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt_engine.wire.trace import PauseKind, ToolRecord
from tests.replay.trace_files import load_jsonl, pauses, sizes


def at(second: float) -> str:
    return f"2026-04-01T10:{int(second) // 60:02}:{second % 60:06.3f}Z"


def line(kind: str, second: float, message: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {"type": kind, "sessionId": "sess", "isSidechain": False, "timestamp": at(second)}
    return fields | {"uuid": f"u{second}", "message": message} | more


def user(second: float, text: str = "do it", **more: Any) -> dict[str, Any]:
    return line("user", second, {"role": "user", "content": text}, **more)


def result(second: float, call: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "tool_result", "tool_use_id": call, "content": "done"}]
    return line("user", second, {"role": "user", "content": content}, **more)


def reply(
    second: float, name: str, tokens: tuple[int, int, int, int], *calls: str, **more: Any
) -> dict[str, Any]:
    """A piece of a message; tokens: input, cache creation, cache read, output."""
    usage = dict(
        zip(
            (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "output_tokens",
            ),
            tokens,
            strict=True,
        )
    )
    blocks: list[dict[str, Any]] = [{"type": "text", "text": "…"}]
    blocks += [{"type": "tool_use", "id": call, "name": "Bash", "input": {}} for call in calls]
    message = {"id": name, "role": "assistant", "model": "m", "content": blocks, "usage": usage}
    return line("assistant", second, message, **more)


def test_pieces_of_a_message_are_one_turn_with_the_largest_count(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        {"type": "summary", "summary": "earlier", "leafUuid": "x"},
        user(0),
        reply(3, "m1", (4, 1000, 0, 2)),
        reply(5, "m1", (4, 1000, 0, 150), "c1"),
        result(9, "c1"),
        reply(12, "m2", (6, 300, 1004, 40)),
    )
    assert trace.format is TraceFormat.CLAUDE_CODE
    (program,) = trace.programs
    assert program.program_id == "sess"
    assert sizes(program) == [(1004, 1004, 150), (1310, 156, 40)]
    assert pauses(program) == [4.0, 0.0]
    assert program.turns[0].tools == (ToolRecord("Bash", 4.0),)
    assert program.turns[0].pause_kind is PauseKind.TOOL
    assert trace.notes == []


def test_a_wait_for_the_user_is_a_user_pause(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        user(0),
        reply(3, "m1", (4, 1000, 0, 150)),
        user(50, "and now this"),
        reply(55, "m2", (6, 300, 1004, 40)),
    ).programs
    assert program.turns[0].pause_kind is PauseKind.USER
    assert pauses(program) == [47.0, 0.0]


def test_a_prompt_that_shrank_reuses_what_the_provider_read_from_its_cache(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        user(0),
        reply(3, "m1", (0, 90_000, 0, 150)),
        user(9, "continued after compaction"),
        reply(12, "m2", (0, 8_000, 12_000, 40)),
    ).programs
    assert sizes(program)[1] == (20_000, 8_000, 40)


@pytest.mark.parametrize("agent_id", ["a1b2", None])
def test_a_sidechain_is_a_child_the_session_waits_for(tmp_path: Path, agent_id: str | None) -> None:
    side: dict[str, Any] = {"isSidechain": True}
    if agent_id is not None:
        side["agentId"] = agent_id
    parent, child = load_jsonl(
        tmp_path,
        user(0),
        reply(3, "m1", (4, 1000, 0, 150), "task"),
        user(4, uuid="root", parentUuid=None, **side),
        reply(6, "s1", (3, 500, 0, 60), uuid="s1", parentUuid="root", **side),
        result(8, "inner", uuid="s2", parentUuid="s1", **side),
        reply(10, "s3", (3, 200, 503, 60), uuid="s3", parentUuid="s2", **side),
        result(11, "task"),
        reply(12, "m2", (6, 300, 1004, 40)),
    ).programs
    assert child.program_id == f"sess/{agent_id or 'root'}"
    assert child.parent_id == "sess"
    assert len(child.turns) == 2
    assert parent.turns[0].waits_for == (child.program_id,)


def test_messages_of_the_client_are_left_out_with_a_note(tmp_path: Path) -> None:
    made_up = reply(8, "x", (0, 0, 0, 0))
    made_up["message"]["model"] = "<synthetic>"
    trace = load_jsonl(tmp_path, user(0), reply(3, "m1", (4, 1000, 0, 150)), made_up)
    assert len(trace.programs[0].turns) == 1
    assert trace.notes == ["1 message without usage or made up by the client left out"]


def test_a_turn_of_which_only_a_stub_was_written_is_noted(tmp_path: Path) -> None:
    trace = load_jsonl(tmp_path, user(0), reply(3, "m1", (4, 1000, 0, 1)))
    assert trace.notes[0].startswith("1 turn with at most 5 output tokens")


def test_a_session_without_replies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no reply of a model"):
        load_jsonl(tmp_path, user(0))


def test_a_broken_count_names_line_and_field(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"line 2, message: usage.output_tokens is -1, expected"):
        load_jsonl(tmp_path, user(0), reply(3, "m1", (4, 1000, 0, -1)))
