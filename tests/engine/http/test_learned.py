"""What was learned survives a restart, and no file is ever lost."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agentrt_engine.sglang.http.learned_file import LearnedFile
from agentrt_engine.sglang.http.learned_keeper import LearnedKeeper, save_before_exit
from agentrt_engine.wire.control import LEARNED_VERSION, Learned
from agentrt_engine.wire.question import Question
from tests.engine.http.server import LEARNED, FakeEngine, FakeScheduler, client_of

OLDER = Learned(LEARNED_VERSION, "guard", {"tools": {"make": [3.0]}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a file in a folder that is not there yet."""
    return tmp_path / "state" / "learned.json"


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def keeper_of(scheduler: FakeScheduler, path: Path) -> LearnedKeeper:
    return LearnedKeeper(scheduler.channel, LearnedFile(path))


def questions(scheduler: FakeScheduler) -> list[Question]:
    return [question for question, _ in scheduler.asked]


def test_the_first_time_it_is_written(scheduler: FakeScheduler, path: Path) -> None:
    asyncio.run(keeper_of(scheduler, path).save())
    assert msgspec.json.decode(path.read_bytes(), type=Learned) == LEARNED
    assert questions(scheduler) == [Question.LEARNED]
    assert [file.name for file in path.parent.iterdir()] == ["learned.json"]


def test_the_next_time_it_is_learned_once(scheduler: FakeScheduler, path: Path) -> None:
    written(path, msgspec.json.encode(OLDER))

    async def two_saves() -> None:
        keeper = keeper_of(scheduler, path)
        await keeper.save()
        await keeper.save()

    asyncio.run(two_saves())
    assert questions(scheduler) == [Question.LEARN, Question.LEARNED, Question.LEARNED]
    assert scheduler.learned == OLDER


def test_what_did_not_change_is_not_written(scheduler: FakeScheduler, path: Path) -> None:
    written(path, msgspec.json.encode(LEARNED))
    before = path.stat().st_ino
    asyncio.run(keeper_of(scheduler, path).save())
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is damaged"),
        (b"{" * 100_000, "it is damaged"),
        (b'{"version": 99, "policy": "guard", "data": {}}', "$.version is 99: expected 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_kept_aside(
    scheduler: FakeScheduler,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    reason: str,
) -> None:
    for name in ("learned.json.bad", "learned.json.bad.2"):
        written(path, content)
        asyncio.run(keeper_of(scheduler, path).save())
        assert path.with_name(name).read_bytes() == content
    assert msgspec.json.decode(path.read_bytes(), type=Learned) == LEARNED
    assert f"{path} is not used: {reason}" in caplog.text


def test_so_is_one_that_the_scheduler_refuses(scheduler: FakeScheduler, path: Path) -> None:
    scheduler.objection = "it is of another policy"
    written(path, msgspec.json.encode(OLDER))
    asyncio.run(keeper_of(scheduler, path).save())
    assert path.with_name("learned.json.bad").read_bytes() == msgspec.json.encode(OLDER)
    assert path.read_bytes() == msgspec.json.encode(LEARNED)


def test_a_silent_scheduler_costs_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = FakeScheduler(answer_s=0.01)
    scheduler.silent = True
    written(path, msgspec.json.encode(OLDER))

    async def later() -> None:
        keeper = keeper_of(scheduler, path)
        await keeper.save()
        assert content_of(path) == msgspec.json.encode(OLDER)
        scheduler.silent = False
        await keeper.save()

    asyncio.run(later())
    assert "not saved now: the scheduler did not answer within 0.01 s" in caplog.text
    assert scheduler.learned == OLDER


def test_a_folder_that_cannot_be_written(
    scheduler: FakeScheduler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = written(tmp_path / "file", b"x")
    asyncio.run(keeper_of(scheduler, blocked / "learned.json").save())
    assert "the learned file" in caplog.text
    assert blocked.read_bytes() == b"x"


def test_it_runs_while_the_server_does(
    sglang: FakeEngine, scheduler: FakeScheduler, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    written(path, msgspec.json.encode(OLDER))
    with client_of(sglang, scheduler, keeper=keeper_of(scheduler, path)) as client:
        client.post("/generate", json={})
        client.get("/agentrt/learned")
    assert questions(scheduler)[0] is Question.LEARN
    assert scheduler.learned == OLDER
    assert caplog.text == ""


def test_it_is_saved_when_the_engine_is_told_to_end(scheduler: FakeScheduler, path: Path) -> None:
    manager = SimpleNamespace(gracefully_exit=False)
    seen: list[bytes | None] = []

    async def exit_when_drained(_manager: Any) -> None:
        seen.append(content_of(path))

    async def signalled() -> None:
        keeper = keeper_of(scheduler, path)
        ending = asyncio.create_task(save_before_exit(keeper, exit_when_drained, manager))
        await asyncio.sleep(0)
        assert content_of(path) is None
        manager.gracefully_exit = True
        await ending

    asyncio.run(signalled())
    assert seen == [msgspec.json.encode(LEARNED)]


def test_what_the_last_requests_teach_is_saved_too(scheduler: FakeScheduler, path: Path) -> None:
    async def signalled() -> None:
        last_request_is_done = asyncio.Event()

        def teach(_question: Question) -> None:
            if len(scheduler.asked) == 2:
                scheduler.learned = OLDER
                last_request_is_done.set()

        async def exit_when_drained(_manager: Any) -> None:
            await last_request_is_done.wait()

        scheduler.on_ask = teach
        await save_before_exit(
            keeper_of(scheduler, path),
            exit_when_drained,
            SimpleNamespace(gracefully_exit=True),
            drain_s=0.01,
        )

    asyncio.run(signalled())
    assert content_of(path) == msgspec.json.encode(OLDER)


def test_the_end_of_the_engine_is_the_end_whatever_it_is(
    scheduler: FakeScheduler, path: Path
) -> None:
    async def fail(_manager: Any) -> None:
        raise RuntimeError("no scheduler")

    manager = SimpleNamespace(gracefully_exit=True)
    with pytest.raises(RuntimeError, match="no scheduler"):
        asyncio.run(save_before_exit(keeper_of(scheduler, path), fail, manager))
