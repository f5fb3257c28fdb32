"""Who is let in, and whose programs a request belongs to."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from agentrt_engine.wire.authorization import bearer, borne_key, short_name
from tests.engine.http.server import FakeEngine, FakeScheduler, client_of

CHAT = "/v1/chat/completions"
KEYS = ["first", "second"]


@pytest.fixture
def guarded(sglang: FakeEngine, scheduler: FakeScheduler) -> TestClient:
    """A client of a server with two keys."""
    return client_of(sglang, scheduler, keys=KEYS)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_any_key_opens_and_sglang_sees_its_own(
    guarded: TestClient, sglang: FakeEngine, key: str, header: str
) -> None:
    headers = bearer(key) if header == "authorization" else {header: key}
    assert guarded.post(CHAT, json={}, headers=headers).status_code == 200
    assert sglang.authorizations == ["Bearer first"]
    (tag,) = sglang.tags
    assert tag is not None and tag.owner == short_name(key)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("third"),
        bearer("firs"),
        {"authorization": "Basic first"},
        {"authorization": "first"},
        {"x-api-key": ""},
        {"x-api-key": "Bearer first"},
    ],
)
def test_nothing_else_does(guarded: TestClient, headers: dict[str, str]) -> None:
    answer = guarded.post(CHAT, json={}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert error["code"] == "invalid_api_key"
    assert "expected the header Authorization: Bearer KEY" in error["message"]


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/agentrt/programs", "/agentrt/hints", "/nowhere", "/Health"]
)
def test_every_path_is_guarded(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 401


def test_probes_are_free(guarded: TestClient) -> None:
    assert guarded.get("/health").status_code == 200


def test_so_it_is_behind_a_proxy(sglang: FakeEngine, scheduler: FakeScheduler) -> None:
    app = client_of(sglang, scheduler, keys=KEYS).app
    proxied = TestClient(app, root_path="/llm")
    assert proxied.get("/llm/health").status_code == 200
    assert proxied.get("/llm/metrics").status_code == 401
    assert proxied.get("/llm/agentrt/programs", headers=bearer("first")).status_code == 200


def test_a_browser_may_ask_first(guarded: TestClient) -> None:
    asking = {"origin": "http://x", "access-control-request-method": "POST"}
    assert guarded.options(CHAT).status_code == 401
    assert guarded.options(CHAT, headers=asking).status_code != 401


def test_a_socket_needs_a_key_as_well(guarded: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, guarded.websocket_connect("/v1/realtime"):
        pass
    assert caught.value.code == 1008


def test_the_key_for_administration_is_left_to_sglang(
    sglang: FakeEngine, scheduler: FakeScheduler
) -> None:
    client = client_of(sglang, scheduler, keys=KEYS, admin_key="admin")
    assert client.post(CHAT, json={}, headers=bearer("admin")).status_code == 200
    assert sglang.authorizations == ["Bearer admin"]


def test_without_keys_everyone_is_let_in(client: TestClient, sglang: FakeEngine) -> None:
    client.post(CHAT, json={}, headers=bearer("anything") | {"session-id": "s"})
    (tag,) = sglang.tags
    assert tag is not None and tag.owner == ""


def test_the_short_name_does_not_tell_the_key() -> None:
    assert short_name("first") == hashlib.sha256(b"first").hexdigest()[:8]


@given(st.text(), st.lists(st.text(min_size=1)))
def test_a_key_is_borne_only_where_it_is_the_same(text: str, keys: list[str]) -> None:
    as_header = text.encode().decode("latin-1")
    assert borne_key({"x-api-key": as_header}, keys) == (text if text in keys else None)
