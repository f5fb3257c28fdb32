"""One small server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.engine.http.server import FakeEngine, FakeScheduler, client_of


@pytest.fixture
def scheduler() -> FakeScheduler:
    """It answers at once."""
    return FakeScheduler()


@pytest.fixture
def sglang() -> FakeEngine:
    """It answers `{}`."""
    return FakeEngine()


@pytest.fixture
def client(sglang: FakeEngine, scheduler: FakeScheduler) -> Iterator[TestClient]:
    """Of a server without keys."""
    with client_of(sglang, scheduler) as client:
        yield client
