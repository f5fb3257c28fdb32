"""The routes under `/agentrt`, and a scheduler that does not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import msgspec
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from agentrt_engine.sglang.http.channel import MAX_PENDING, SchedulerChannel
from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.sglang.http.request_body import read_body
from agentrt_engine.wire.authorization import bearer, short_name
from agentrt_engine.wire.control import Learned, OwnedHint, SnapshotRequest
from agentrt_engine.wire.hints import MAX_BYTES, Hint, HintKind
from agentrt_engine.wire.programs import EngineSnapshot
from agentrt_engine.wire.question import Question
from tests.engine.http.server import LEARNED, SNAPSHOT, FakeEngine, FakeScheduler, client_of

ENDED = {"program_id": "p", "kind": "ended"}


@pytest.fixture
def guarded(sglang: FakeEngine, scheduler: FakeScheduler) -> TestClient:
    """A client of a server with two keys."""
    return client_of(sglang, scheduler, keys=["first", "second"])


def test_each_hint_has_its_outcome(client: TestClient, scheduler: FakeScheduler) -> None:
    answer = client.post("/agentrt/hints", json=[ENDED, ENDED | {"program_id": "q"}])
    assert answer.json() == [
        {"program_id": "p", "kind": "ended", "outcome": "applied"},
        {"program_id": "q", "kind": "ended", "outcome": "applied"},
    ]
    assert scheduler.hints == [
        OwnedHint("", Hint("p", HintKind.ENDED)),
        OwnedHint("", Hint("q", HintKind.ENDED)),
    ]


def test_one_hint_has_a_list_of_one(client: TestClient) -> None:
    assert len(client.post("/agentrt/hints", json=ENDED).json()) == 1


def test_the_outcomes_of_an_envelope_bear_the_ids_of_its_actions(client: TestClient) -> None:
    action = {"action_id": "a", "action_type": "Share", "payload": {"program_id": "p"}}
    answer = client.post("/agentrt/hints", json={"actions": [action]})
    assert answer.json() == [
        {"action_id": "a", "program_id": "p", "kind": "share", "outcome": "applied"}
    ]


def test_a_hint_belongs_to_its_key(guarded: TestClient, scheduler: FakeScheduler) -> None:
    guarded.post("/agentrt/hints", json=ENDED, headers=bearer("second"))
    assert [hint.owner for hint in scheduler.hints] == [short_name("second")]


def test_an_invalid_hint_names_its_field(client: TestClient, scheduler: FakeScheduler) -> None:
    answer = client.post("/agentrt/hints", json=[ENDED, ENDED | {"ttl_s": -1}])
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "$[1].ttl_s"
    assert error["type"] == "invalid_request_error"
    assert scheduler.asked == []


def test_a_body_over_the_limit(client: TestClient, scheduler: FakeScheduler) -> None:
    def endless() -> Iterator[bytes]:
        yield from [b" " * 65_536] * (MAX_BYTES // 65_536 + 1)

    answer = client.post("/agentrt/hints", content=endless())
    assert answer.status_code == 413
    assert answer.json()["error"]["message"].endswith(f"at most {MAX_BYTES} bytes")
    assert scheduler.asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/agentrt/hints"), ("GET", "/agentrt/programs"), ("GET", "/agentrt/learned")],
)
def test_a_silent_scheduler_is_no_hang(sglang: FakeEngine, method: str, path: str) -> None:
    scheduler = FakeScheduler(answer_s=0.01)
    scheduler.silent = True
    client = client_of(sglang, scheduler)
    answer = client.request(method, path, json=ENDED if method == "POST" else None)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "scheduler_silent"
    assert scheduler.channel.pending == 0


def test_only_so_many_questions_wait() -> None:
    async def flood() -> list[int]:
        scheduler = FakeScheduler()
        scheduler.silent = True
        asked = [
            asyncio.create_task(scheduler.channel.ask(Question.SNAPSHOT, b"", 0.2))
            for _ in range(MAX_PENDING + 3)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert scheduler.channel.pending == 0
        return [answer.status for answer in answers if isinstance(answer, Refusal)]

    assert sorted(asyncio.run(flood())) == [503] * 3 + [504] * MAX_PENDING


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    async def ask_twice() -> bytes:
        sent: list[str] = []

        async def send(rid: str, _question: Question, _payload: bytes) -> None:
            sent.append(rid)
            if len(sent) == 2:
                channel.receive(sent[0], b"late")
                channel.receive(sent[1], b"in time")

        channel = SchedulerChannel(send, answer_s=0.01)
        with pytest.raises(Refusal, match=r"did not answer within 0\.01 s"):
            await channel.ask(Question.LEARNED, b"")
        return await channel.ask(Question.LEARNED, b"", 10.0)

    assert asyncio.run(ask_twice()) == b"in time"


def asked(scheduler: FakeScheduler) -> SnapshotRequest:
    (payload,) = [payload for question, payload in scheduler.asked if question == "snapshot"]
    return msgspec.json.decode(payload, type=SnapshotRequest)


def test_the_programs(client: TestClient, scheduler: FakeScheduler) -> None:
    answer = client.get("/agentrt/programs?limit=5")
    assert msgspec.json.decode(answer.content, type=EngineSnapshot) == SNAPSHOT
    assert asked(scheduler) == SnapshotRequest(limit=5, owner=None)


def test_with_several_keys_only_the_own_programs(
    guarded: TestClient, scheduler: FakeScheduler
) -> None:
    guarded.get("/agentrt/programs", headers=bearer("second"))
    assert asked(scheduler) == SnapshotRequest(owner=short_name("second"))


def test_with_one_key_all_programs(sglang: FakeEngine, scheduler: FakeScheduler) -> None:
    client_of(sglang, scheduler, keys=["k"]).get("/agentrt/programs", headers=bearer("k"))
    assert asked(scheduler).owner is None


@pytest.mark.parametrize("limit", ["", "-1", "x", "10001", "9" * 5000, "1.5", "²"])
def test_an_odd_limit(client: TestClient, limit: str) -> None:
    answer = client.get("/agentrt/programs", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "limit"


def test_what_was_learned_goes_out_and_in(client: TestClient, scheduler: FakeScheduler) -> None:
    exported = client.get("/agentrt/learned")
    assert exported.headers["content-disposition"].endswith('filename="agentrt-learned.json"')
    other = Learned(LEARNED.version, "guard", {"tools": {}})
    assert client.put("/agentrt/learned", content=msgspec.json.encode(other)).status_code == 204
    assert scheduler.learned == other
    assert client.put("/agentrt/learned", content=exported.content).status_code == 204
    assert scheduler.learned == LEARNED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "it is damaged"),
        (b'{"version": 1, "policy": 3, "data": {}}', "$.policy"),
        (b'{"version": 99, "policy": "guard", "data": {}}', "$.version is 99: expected 1"),
    ],
)
def test_a_damaged_import(
    client: TestClient, scheduler: FakeScheduler, body: bytes, reason: str
) -> None:
    answer = client.put("/agentrt/learned", content=body)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]["message"]
    assert scheduler.asked == []


def test_an_import_for_another_policy(client: TestClient, scheduler: FakeScheduler) -> None:
    scheduler.objection = "it is of the policy continuum, here is guard"
    answer = client.put("/agentrt/learned", content=json.dumps(msgspec.to_builtins(LEARNED)))
    assert answer.status_code == 409
    assert scheduler.objection in answer.json()["error"]["message"]


@pytest.mark.parametrize(("key", "status"), [("first", 200), ("second", 403)])
def test_what_all_taught_the_engine_is_the_operators(
    guarded: TestClient, key: str, status: int
) -> None:
    assert guarded.get("/agentrt/learned", headers=bearer(key)).status_code == status


def test_a_client_that_hangs_up_in_its_body_is_no_error_of_the_server() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def never(_message: Message) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    with pytest.raises(Refusal, match="hung up before the end of its body"):
        asyncio.run(read_body(Request(scope, receive, never), MAX_BYTES))
