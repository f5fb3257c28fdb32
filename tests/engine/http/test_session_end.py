"""A closed session ends the program of its name, of the same key."""

from __future__ import annotations

from typing import Any

import pytest

from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import Hint, HintKind
from tests.engine.http.server import FakeEngine, FakeScheduler, client_of

KEYS = ["first", "second"]
PATH = "/close_session"


def test_a_closed_session_ends_its_program() -> None:
    scheduler = FakeScheduler()
    with client_of(FakeEngine(), scheduler) as client:
        assert client.post(PATH, json={"session_id": "s"}).status_code == 200

    assert scheduler.hints == [OwnedHint("", Hint("s", HintKind.ENDED))]


def test_only_that_of_its_own_key() -> None:
    scheduler = FakeScheduler()
    with client_of(FakeEngine(), scheduler, keys=KEYS) as client:
        client.post(PATH, json={"session_id": "s"}, headers=bearer(KEYS[0]))
        client.post(PATH, json={"session_id": "s"}, headers=bearer(KEYS[1]))

    first, second = scheduler.hints
    assert first.owner != second.owner


@pytest.mark.parametrize("body", [[], {}, {"session_id": 7}, {"session_id": ""}])
def test_what_names_no_session_ends_nothing(body: Any) -> None:
    scheduler = FakeScheduler()
    with client_of(FakeEngine(), scheduler) as client:
        client.post(PATH, json=body)

    assert scheduler.hints == []
