"""Which program a request belongs to, by its headers and its body."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from agentrt_engine.wire.body_identity import tag_from_body
from agentrt_engine.wire.identity import (
    PARENT_HEADERS,
    PROGRAM_HEADERS,
    ProgramTag,
    merge,
    tag_from_headers,
)
from tests.engine.http.server import FakeEngine

CHAT = "/v1/chat/completions"


def test_the_headers_of_the_field_in_their_order() -> None:
    assert PROGRAM_HEADERS == (
        "X-Agentrt-Program-ID",
        "X-Dynamo-Session-ID",
        "x-session-id",
        "x-claude-code-session-id",
        "session-id",
    )
    assert PARENT_HEADERS == (
        "X-Agentrt-Parent-ID",
        "X-Dynamo-Parent-Session-ID",
        "x-parent-session-id",
        "x-claude-code-parent-agent-id",
    )


@pytest.mark.parametrize("first", range(len(PROGRAM_HEADERS)))
def test_the_first_header_counts(first: int) -> None:
    headers = {name.lower(): f"id-{i}" for i, name in enumerate(PROGRAM_HEADERS) if i >= first}
    assert tag_from_headers(headers).program_id == f"id-{first}"


@pytest.mark.parametrize("first", range(len(PARENT_HEADERS)))
def test_so_it_is_with_the_parent(first: int) -> None:
    headers = {name.lower(): f"id-{i}" for i, name in enumerate(PARENT_HEADERS) if i >= first}
    assert tag_from_headers(headers).parent_id == f"id-{first}"


@pytest.mark.parametrize("name", ["x-agentrt-final", "x-dynamo-session-final"])
@pytest.mark.parametrize(
    ("value", "final"), [("true", True), ("1", True), ("True", True), ("0", False), ("no", False)]
)
def test_the_last_turn(name: str, value: str, final: bool) -> None:
    assert tag_from_headers({name: value}).final is final


@pytest.mark.parametrize("odd", ["", "  ", "x" * 257, "a\x00b", "a\tb", "\x9b"])
def test_an_odd_id_is_none_and_the_next_header_counts(odd: str) -> None:
    assert tag_from_headers({"x-agentrt-program-id": odd, "session-id": "s"}).program_id == "s"


def test_headers_go_before_what_the_body_says_each_part_by_itself() -> None:
    headers = ProgramTag("h", parent_id="p")
    client = ProgramTag("c", agent="coder", max_turns=4, remaining_s=2.5)
    body = ProgramTag("b", agent="other", priority=1.0)
    assert merge("", headers, client, body) == ProgramTag(
        "h", parent_id="p", agent="coder", max_turns=4, remaining_s=2.5, priority=1.0
    )


def test_nobody_names_the_owner_but_the_key() -> None:
    assert merge("k", ProgramTag("a", owner="another")).owner == "k"
    assert merge("", ProgramTag("a", owner="another")).owner == ""


def test_every_request_can_afford_it() -> None:
    began = time.perf_counter()
    for _ in range(100):
        merge("", ProgramTag("a"), None, None)

    assert time.perf_counter() - began < 0.1  # 1 ms each; it takes a few µs


def test_a_program_is_not_its_own_parent() -> None:
    assert merge("", ProgramTag("a", parent_id="a")).parent_id is None


def test_a_program_that_nobody_named_has_no_last_turn() -> None:
    assert not merge("", ProgramTag(final=True), ProgramTag("hash-1", fallback=True)).final
    assert not merge("", ProgramTag(final=True)).final


NUMBERS = st.floats() | st.none()


@given(st.text(), st.text() | st.none(), st.integers() | st.none(), NUMBERS, NUMBERS)
def test_what_means_nothing_is_left_out(
    program_id: str,
    agent: str | None,
    max_turns: int | None,
    remaining_s: float | None,
    priority: float | None,
) -> None:
    given_tag = ProgramTag(
        program_id, agent=agent, max_turns=max_turns, remaining_s=remaining_s, priority=priority
    )
    tag = merge("", given_tag)
    assert tag.program_id in ("", program_id)
    assert len(tag.program_id) <= 256 and tag.program_id.isprintable()
    assert tag.agent is None or 0 < len(tag.agent) <= 256
    assert tag.max_turns is None or 1 <= tag.max_turns < 1_000_000
    assert tag.remaining_s is None or 0 <= tag.remaining_s < float("inf")
    assert tag.priority is None or abs(tag.priority) < float("inf")


def tag(**body: Any) -> ProgramTag | None:
    return tag_from_body(json.dumps(body).encode())


SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Fix it."}


def test_the_session_goes_before_the_cache_key() -> None:
    assert tag(session_id="s", prompt_cache_key="k") == ProgramTag("s")
    assert tag(session_id=7, prompt_cache_key="k", messages=[USER]) == ProgramTag("k")


def test_a_conversation_is_known_by_how_it_begins() -> None:
    later = [
        SYSTEM,
        USER,
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "x"},
    ]
    first, second = tag(messages=[SYSTEM, USER]), tag(messages=later)
    assert first is not None
    assert first == second
    assert first.fallback and len(first.program_id) > 32


def test_another_beginning_is_another_program() -> None:
    other = {"role": "user", "content": "Break it."}
    tags = [tag(messages=messages) for messages in ([SYSTEM, USER], [SYSTEM, other], [USER])]
    assert all(a != b for a, b in itertools.combinations(tags, 2))


def test_where_to_cache_is_no_part_of_the_beginning() -> None:
    marked = {"type": "text", "text": "Fix it.", "cache_control": {"type": "ephemeral"}}
    assert tag(messages=[{"role": "user", "content": [marked]}]) == tag(messages=[USER])
    image = {"type": "image", "source": "x"}
    with_image = [{"role": "user", "content": [image | {"cache_control": {}}]}]
    assert tag(messages=with_image) == tag(messages=[{"role": "user", "content": [image]}])


def test_the_beginning_is_the_same_by_all_apis() -> None:
    by_anthropic = tag(system=[{"type": "text", "text": "Be brief."}], messages=[USER])
    by_responses = tag(instructions="Be brief.", input="Fix it.")
    with_items = tag(instructions="Be brief.", input=[USER])
    assert by_anthropic == by_responses == with_items == tag(messages=[SYSTEM, USER])


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "Once"},
        {"text": "Once"},
        {"input_ids": [1, 2]},
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"input": "next", "previous_response_id": "r1"},
    ],
)
def test_a_prompt_without_a_conversation_has_no_id(body: dict[str, Any]) -> None:
    assert tag(**body) == ProgramTag()


def test_the_priority_of_a_dynamo_client() -> None:
    assert tag(nvext={"agent_hints": {"priority": 3, "osl": 100}}) == ProgramTag(priority=3.0)


@pytest.mark.parametrize("odd", [3, {"agent_hints": 3}, {"agent_hints": {"priority": 10**400}}])
def test_what_is_odd_elsewhere_does_not_hide_the_id(odd: Any) -> None:
    assert tag(nvext=odd, session_id="s", messages=odd) == ProgramTag("s")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'{"messages": 3}', b'{"x":' + b"[" * 100_000, b'{"session_id":"\xff"}'],
)
def test_a_body_that_cannot_be_read_says_nothing(body: bytes) -> None:
    assert tag_from_body(body) is None


@given(st.binary())
def test_no_body_is_too_odd(body: bytes) -> None:
    # An object that is empty is one that names nothing.
    assert tag_from_body(body) in (None, ProgramTag())


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "text"]), inner)
    ),
)
FIELDS = ["messages", "session_id", "system", "input", "instructions", "nvext"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_json_is_too_odd(body: dict[str, Any]) -> None:
    found = tag(**body)
    assert found is None or found.fallback == found.program_id.startswith("hash-")


def test_the_tag_reaches_the_tokenized_request(client: TestClient, sglang: FakeEngine) -> None:
    headers = {"x-agentrt-program-id": "p", "X-Agentrt-Final": "true", "X-Agentrt-Parent-ID": "q"}
    client.post(CHAT, json={"messages": [USER], "custom_params": {"mine": 1}}, headers=headers)
    assert sglang.tags == [ProgramTag("p", parent_id="q", final=True)]
    assert sglang.others == [{"mine"}]


def test_every_one_of_several_samples_has_it(client: TestClient, sglang: FakeEngine) -> None:
    sglang.answer = [b"data: 1\n\n", b"data: [DONE]\n\n"]
    answer = client.post(CHAT, json={"session_id": "s", "n": 3})
    assert answer.text == "data: 1\n\ndata: [DONE]\n\n"
    assert sglang.tags == [ProgramTag("s")] * 3


def test_a_client_cannot_say_whose_it_is(client: TestClient, sglang: FakeEngine) -> None:
    forged = {"agentrt": {"program_id": "p", "owner": "another", "agent": "coder"}}
    client.post("/generate", json={"sampling_params": {"custom_params": forged}, "session_id": "s"})
    assert sglang.tags == [ProgramTag("p", agent="coder")]


@pytest.mark.parametrize("odd", [[1], "text", {"agentrt": {"program_id": 7}}, {"agentrt": []}])
def test_odd_parameters_are_no_tag(client: TestClient, sglang: FakeEngine, odd: Any) -> None:
    client.post(CHAT, json={"custom_params": odd, "session_id": "s"})
    assert sglang.tags == [ProgramTag("s")]
    assert sglang.others == [set()]


def test_a_bare_prompt_has_no_tag(client: TestClient, sglang: FakeEngine) -> None:
    client.post("/generate", json={"text": "Once"})
    assert sglang.tags == [None]


def test_requests_do_not_see_each_others_identity(client: TestClient, sglang: FakeEngine) -> None:
    client.post(CHAT, json={}, headers={"session-id": "a"})
    client.post(CHAT, json={})
    assert sglang.tags == [ProgramTag("a"), None]


def test_a_long_body_is_passed_on_whole(client: TestClient, sglang: FakeEngine) -> None:
    text = "word " * 100_000
    body = json.dumps({"prompt_cache_key": "k", "messages": [{"role": "user", "content": text}]})

    def chunks() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536].encode()

    assert client.post(CHAT, content=chunks()).status_code == 200
    assert sglang.tags == [ProgramTag("k")]
