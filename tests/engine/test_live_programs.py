"""Programs in a real engine: how requests name them, what they hold, how they end."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from agentrt_engine.sglang.server import EngineProcess
from agentrt_engine.wire.hints import HINTS_PATH
from agentrt_engine.wire.identity import FINAL, PARENT_ID, PROGRAM_ID
from agentrt_engine.wire.programs import PROGRAMS_PATH

MODEL = "SmolLM2-135M-Instruct"
TEXT = "A radix tree keeps the prompts that an engine has seen, and their keys and values. " * 4


@pytest.fixture
def client(engine: EngineProcess) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=engine.url, timeout=60) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A program that no other test has."""
    return f"program-{uuid.uuid4().hex[:8]}"


def row(client: httpx2.Client, name: str) -> dict[str, Any] | None:
    rows = client.get(PROGRAMS_PATH, params={"limit": 10_000}).json()["programs"]
    return next((row for row in rows if row["program_id"] == name), None)


def hint(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post(HINTS_PATH, json=fields)
    assert answer.status_code == 200, answer.text
    outcome: dict[str, Any] = answer.json()[0]
    return outcome


def eventually(holds: Callable[[], bool]) -> None:
    """The engine comes to it between two of its steps."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never comes to that"
        time.sleep(0.05)


MESSAGES = [{"role": "user", "content": TEXT}]
CHAT = ("/v1/chat/completions", {"model": MODEL, "messages": MESSAGES, "max_tokens": 4})
COMPLETION = ("/v1/completions", {"model": MODEL, "prompt": TEXT, "max_tokens": 4})
GENERATE = ("/generate", {"text": TEXT, "sampling_params": {"max_new_tokens": 4}})
ANTHROPIC = ("/v1/messages", {"model": MODEL, "messages": MESSAGES, "max_tokens": 4})
RESPONSES = ("/v1/responses", {"model": MODEL, "input": TEXT, "max_output_tokens": 4})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"), [CHAT, COMPLETION, GENERATE, ANTHROPIC, RESPONSES], ids=lambda case: case
)
def test_a_header_names_the_program(
    client: httpx2.Client, name: str, path: str, body: dict[str, Any], stream: bool
) -> None:
    answer = client.post(path, json={**body, "stream": stream}, headers={PROGRAM_ID: name})
    assert answer.status_code == 200, answer.text
    eventually(lambda: (row(client, name) or {}).get("turns") == 1)
    found = row(client, name)
    assert found is not None
    assert found["state"] == "paused"
    assert found["held_tokens"] >= 0


@pytest.mark.parametrize("field", ["session_id", "prompt_cache_key"])
def test_a_field_of_the_body_names_it(client: httpx2.Client, name: str, field: str) -> None:
    path, body = CHAT
    assert client.post(path, json={**body, field: name}).status_code == 200
    assert row(client, name) is not None


def test_the_next_turn_finds_the_last_one_in_the_cache(client: httpx2.Client, name: str) -> None:
    path, body = CHAT
    headers = {PROGRAM_ID: name}
    first = client.post(path, json=body, headers=headers).json()
    reply = first["choices"][0]["message"]["content"]
    longer = [
        *MESSAGES,
        {"role": "assistant", "content": reply},
        {"role": "user", "content": "Go on."},
    ]
    usage = client.post(path, json={**body, "messages": longer}, headers=headers).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_final_turn_ends_the_program(client: httpx2.Client, name: str, stream: bool) -> None:
    path, body = CHAT
    headers = {PROGRAM_ID: name}
    client.post(path, json=body, headers=headers)
    assert row(client, name) is not None

    client.post(path, json={**body, "stream": stream}, headers={**headers, FINAL: "true"})

    eventually(lambda: row(client, name) is None)


def test_a_closed_session_ends_its_program(client: httpx2.Client, name: str) -> None:
    path, body = CHAT
    client.post(path, json={**body, "session_id": name})
    assert row(client, name) is not None
    client.post("/close_session", json={"session_id": name})
    eventually(lambda: row(client, name) is None)


def test_a_child_knows_its_parent(client: httpx2.Client, name: str) -> None:
    path, body = CHAT
    client.post(path, json=body, headers={PROGRAM_ID: name})
    client.post(path, json=body, headers={PROGRAM_ID: f"{name}-child", PARENT_ID: name})
    child = row(client, f"{name}-child")
    assert child is not None
    assert child["parent_id"] == name


def test_hints_reach_the_program(client: httpx2.Client, name: str) -> None:
    path, body = CHAT
    client.post(path, json=body, headers={PROGRAM_ID: name})

    started = hint(client, program_id=name, kind="tool_started", tool="bash")
    assert (started["outcome"], row(client, name)["tool"]) == ("applied", "bash")  # type: ignore[index]
    assert hint(client, program_id=name, kind="prefetch")["outcome"] == "unsupported"
    assert hint(client, program_id=name, kind="ended")["outcome"] == "applied"
    assert hint(client, program_id=name, kind="ended")["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, ""),
        (b"7", 400, ""),
        (b'{"program_id": "a", "kind": "sing"}', 400, "kind"),
        (b'{"program_id": 7, "kind": "ended"}', 400, "program_id"),
        (b'[{"program_id": "a", "kind": "pin", "ttl_s": -1}]', 400, "ttl_s"),
        (b'{"program_id": "a", "kind": "ended", "extra": 1}', 400, "extra"),
        (b" " * (2 << 20), 413, ""),
    ],
)
def test_garbage_is_refused_and_harms_nobody(
    client: httpx2.Client, body: bytes, status: int, said: str
) -> None:
    answer = client.post(HINTS_PATH, content=body)
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert client.get(PROGRAMS_PATH).status_code == 200


@pytest.mark.parametrize("token", [-1, 49_152, 2**40])
def test_a_token_that_the_model_does_not_have_is_refused(client: httpx2.Client, token: int) -> None:
    ids = [1, 2, token]
    for path, body in (("/generate", {"input_ids": ids}), ("/v1/completions", {"prompt": ids})):
        answer = client.post(path, json={"model": MODEL, **body})
        assert answer.status_code == 400, answer.text
        assert f"token id {token}" in answer.text
    assert client.get("/health").status_code == 200


def test_a_client_that_hangs_up_leaves_nothing_behind(client: httpx2.Client, name: str) -> None:
    path, body = CHAT
    long = {**body, "max_tokens": 2000, "ignore_eos": True, "stream": True}
    with client.stream("POST", path, json=long, headers={PROGRAM_ID: name}) as answer:
        next(answer.iter_lines())

    eventually(lambda: client.get(PROGRAMS_PATH).json()["running"] == 0)
    snapshot = client.get(PROGRAMS_PATH).json()
    assert snapshot["free_tokens"] + snapshot["leased_tokens"] <= snapshot["kv_tokens"]
    found = row(client, name)
    assert found is None or found["held_tokens"] == 0


def test_metrics_are_those_of_sglang_and_ours(client: httpx2.Client) -> None:
    text = client.get("/metrics").text
    assert "sglang:" in text
    for metric in (
        'agentrt_kv_tokens{kind="leased"}',
        'agentrt_programs{state="paused"}',
        "agentrt_programs_started_total",
        'agentrt_prompt_tokens_total{kind="hit"}',
        'agentrt_account_seconds_total{kind="decode"}',
    ):
        assert metric in text


def test_what_it_learned_can_be_taken_along(client: httpx2.Client) -> None:
    learned = client.get("/agentrt/learned")
    assert learned.json()["policy"] == "guard"
    assert client.put("/agentrt/learned", content=learned.content).status_code in (200, 204)
    other = json.dumps({**learned.json(), "policy": "continuum"}).encode()
    refused = client.put("/agentrt/learned", content=other)
    assert refused.status_code == 409
    assert "continuum" in refused.text
