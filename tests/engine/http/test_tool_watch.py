"""Tools that a program waits for, found in what the engine answers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from agentrt_engine.sglang.http.tool_calls import MARKERS, MAX_CALLS, ToolCalls
from agentrt_engine.sglang.http.tool_watch import HintingPrograms
from agentrt_engine.wire.authorization import bearer, short_name
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import Hint, HintKind
from tests.engine.http.server import FakeEngine, FakeScheduler, client_of

CHAT, ANTHROPIC, RESPONSES = MARKERS
SESSION = {"x-session-id": "s"}


def sse(*events: Any) -> list[bytes]:
    """Server-sent events, one chunk each."""
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]


def chat_call(call_id: str | None, name: str | None, arguments: str = "") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "index": 0, "type": "function", "function": function}


def delta(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content, "tool_calls": list(calls) or None}}]}


WHOLE: dict[str, Any] = {
    CHAT: {
        "choices": [
            {"message": {"content": None, "tool_calls": [chat_call("a", "bash", '{"x": 1}')]}},
            {"message": {"content": "function", "tool_calls": None}},
            {"message": {"tool_calls": [chat_call("b", "grep")]}},
        ]
    },
    ANTHROPIC: {
        "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "a", "name": "bash", "input": {"x": [1]}},
            {"type": "tool_use", "id": "b", "name": "grep", "input": {}},
        ],
        "stop_reason": "tool_use",
    },
    RESPONSES: {
        "output": [
            {"type": "reasoning", "id": "r", "content": []},
            {"type": "function_call", "id": "1", "call_id": "a", "name": "bash"},
            {"type": "function_call", "id": "2", "call_id": "b", "name": "grep"},
        ]
    },
}

STREAMED: dict[str, list[Any]] = {
    CHAT: [
        delta(content="I look."),
        delta(chat_call("a", "bash")),
        delta(chat_call(None, None, '{"x": ')),
        delta(chat_call("b", "grep", "{}")),
        {"choices": [], "usage": {}},
    ],
    ANTHROPIC: [
        {"type": "message_start", "message": {"content": []}},
        {"type": "content_block_start", "content_block": WHOLE[ANTHROPIC]["content"][1]},
        {"type": "content_block_delta", "delta": {"partial_json": "{}"}},
        {"type": "content_block_start", "content_block": WHOLE[ANTHROPIC]["content"][2]},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ],
    RESPONSES: [
        {"type": "response.output_item.added", "item": WHOLE[RESPONSES]["output"][1]},
        {"type": "response.output_item.done", "item": WHOLE[RESPONSES]["output"][1]},
        {"type": "response.output_item.added", "item": WHOLE[RESPONSES]["output"][2]},
        {"type": "response.completed", "response": WHOLE[RESPONSES]},
    ],
}


def started(name: str, call_id: str, owner: str = "") -> OwnedHint:
    return OwnedHint(owner, Hint("s", HintKind.TOOL_STARTED, name, call_id=call_id))


BOTH = [started("bash", "a"), started("grep", "b")]


@pytest.mark.parametrize("path", MARKERS)
def test_tools_of_a_whole_answer(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler, path: str
) -> None:
    sglang.answer = json.dumps(WHOLE[path]).encode()
    answer = client.post(path, json={}, headers=SESSION)
    assert answer.content == sglang.answer
    assert scheduler.hints == BOTH


@pytest.mark.parametrize("path", MARKERS)
def test_tools_of_a_streamed_answer(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler, path: str
) -> None:
    chunks = [*sse(*STREAMED[path]), b"data: [DONE]\n\n"]
    sglang.answer = chunks
    answer = client.post(path, json={}, headers=SESSION)
    assert answer.content == b"".join(chunks)
    assert scheduler.hints == BOTH


@given(st.sampled_from(list(MARKERS)), st.lists(st.integers(0, 2000), max_size=20))
def test_where_a_stream_is_cut_makes_no_difference(path: str, cuts: list[int]) -> None:
    stream = b"".join(sse(*STREAMED[path]))
    calls = ToolCalls(MARKERS[path], streamed=True)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for start, end in itertools.pairwise(edges):
        calls.feed(stream[start:end])
    assert calls.finish() == {"a": "bash", "b": "grep"}


@given(st.sampled_from(list(MARKERS.values())), st.booleans(), st.lists(st.binary()))
def test_no_answer_is_too_odd(marker: bytes, streamed: bool, chunks: list[bytes]) -> None:
    calls = ToolCalls(marker, streamed=streamed)
    for chunk in chunks:
        calls.feed(chunk + marker)
    assert calls.finish() == {}


def test_so_many_tools_of_one_answer() -> None:
    calls = ToolCalls(MARKERS[CHAT], streamed=True)
    for event in sse(*(delta(chat_call(f"c{i}", "bash")) for i in range(MAX_CALLS + 5))):
        calls.feed(event)
    assert len(calls.finish()) == MAX_CALLS


def test_an_answer_without_tools_tells_nothing(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    sglang.answer = json.dumps({"choices": [{"message": {"content": '"function"'}}]}).encode()
    client.post(CHAT, json={}, headers=SESSION)
    assert scheduler.asked == []


def test_a_program_that_hints_by_itself_is_left_alone(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    sglang.answer = json.dumps(WHOLE[CHAT]).encode()
    client.post(CHAT, json={}, headers=SESSION | {"X-Agentrt-Hints": "explicit"})
    assert scheduler.hints == []

    own = {"program_id": "s", "kind": "tool_started", "tool": "make"}
    client.post("/agentrt/hints", json=own)
    client.post(CHAT, json={}, headers=SESSION)
    assert [hint.hint.tool for hint in scheduler.hints] == ["make"]

    client.post(CHAT, json={}, headers={"x-session-id": "another"})
    assert [hint.hint.program_id for hint in scheduler.hints] == ["s", "another", "another"]


def test_a_client_that_only_ends_its_programs_does_not_hint(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    sglang.answer = json.dumps(WHOLE[CHAT]).encode()
    client.post("/agentrt/hints", json={"program_id": "s", "kind": "priority", "priority": 1})
    client.post(CHAT, json={}, headers=SESSION)
    assert scheduler.hints[1:] == BOTH


def test_the_hint_belongs_to_the_key_of_the_request(
    sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    client = client_of(sglang, scheduler, keys=["first", "second"])
    sglang.answer = json.dumps(WHOLE[CHAT]).encode()
    client.post(CHAT, json={}, headers=SESSION | bearer("second"))
    owner = short_name("second")
    assert scheduler.hints == [started("bash", "a", owner), started("grep", "b", owner)]


def test_an_id_in_the_body_counts_as_well(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    sglang.answer = json.dumps(WHOLE[CHAT]).encode()
    client.post(CHAT, json={"custom_params": {"agentrt": {"program_id": "s"}}})
    assert scheduler.hints == BOTH


def test_after_the_last_turn_there_is_no_tool(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    sglang.answer = json.dumps(WHOLE[CHAT]).encode()
    client.post(CHAT, json={}, headers=SESSION | {"x-agentrt-final": "1"})
    assert scheduler.hints == []


def test_without_an_id_there_is_nobody_to_tell_of(
    client: TestClient, sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    sglang.answer = json.dumps(WHOLE[CHAT]).encode()
    client.post(CHAT, json={})
    assert scheduler.hints == []


def test_the_program_heard_from_longest_ago_is_forgotten_first() -> None:
    programs = HintingPrograms(capacity=2)
    for program_id in ("a", "b", "a", "c"):
        programs.note("", Hint(program_id, HintKind.TOOL_STARTED, "bash"))
    assert [("", name) in programs for name in "abc"] == [True, False, True]
    programs.note("", Hint("a", HintKind.ENDED))
    assert len(programs) == 1
    assert ("k", "c") not in programs
