"""The engine behind `connect()` without an address: found or started, shared, never orphaned."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest

from agentrt import connect
from agentrt.errors import ModelNotFound
from agentrt_engine.sglang.running import RunningEngine, announced, running_engines
from tests.support.processes import Command, left_after, living
from tests.support.scripted_engine import INFO, ScriptedEngine

GONE_S = 5.0

OWNER = """
import sys
import anyio
from agentrt import connect
from agentrt.embedded import EngineSettings, owned_engines

SETTINGS = EngineSettings(model=sys.argv[1], kv_tokens=2048)

async def use() -> None:
    async with connect(engine=SETTINGS, on_stage=lambda stage: print(stage, flush=True)) as runtime:
        print("pid", *(engine.pid for engine in owned_engines()), runtime.engine.url, flush=True)

async def use_twice() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        tasks.start_soon(use)
    await use()

async def fail() -> None:
    async with connect(engine=SETTINGS):
        raise KeyError("a mistake of the owner")

anyio.run(use_twice)
anyio.run(use)
anyio.run(fail)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where owner.py runs."""
    (tmp_path / "owner.py").write_text(OWNER)
    return tmp_path


def test_it_is_started_once_shared_and_gone_after_an_exception(
    folder: Path, model_folder: Path
) -> None:
    with Command(sys.executable, "owner.py", model_folder, folder=folder) as owner:
        done = owner.done()
        assert left_after(GONE_S, folder) == {}
    lines = done.out.splitlines()
    used = [line for line in lines if line.startswith("pid ")]
    assert len(used) == 4, done.err
    assert len(set(used)) == 1
    assert len(used[0].split()) == 3
    assert lines.count("importing SGLang") == 1
    assert done.code == 1
    assert "KeyError: 'a mistake of the owner'" in done.err


def test_kill_9_of_the_owner_takes_it_along(folder: Path, model_folder: Path) -> None:
    with Command(sys.executable, "owner.py", model_folder, folder=folder) as owner:
        owner.until("loading the model")
        assert any("agentrt_engine.sglang.launch" in name for name in living(folder).values())
        owner.send(signal.SIGKILL)
        assert owner.done().code == -signal.SIGKILL
        assert left_after(GONE_S, folder) == {}


# Which running engine is taken.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine is known, and no model to start one with."""
    for name in [name for name in os.environ if name.startswith("AGENTRT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTRT_CACHE_DIR", str(tmp_path))


@contextmanager
def served(*engines: RunningEngine) -> Iterator[None]:
    with ExitStack() as notes:
        for engine in engines:
            notes.enter_context(announced(engine))
        yield


def note(url: str, *, pid: int | None = None, needs_key: bool = False) -> RunningEngine:
    return RunningEngine(os.getpid() if pid is None else pid, url, "scripted", needs_key)


def connected_url() -> str:
    async def main() -> str:
        async with connect() as runtime:
            return runtime.engine.url

    return anyio.run(main)


@pytest.mark.usefixtures("cache")
def test_a_served_engine_is_taken() -> None:
    with ScriptedEngine(info=INFO) as engine, served(note(engine.url)):
        assert connected_url() == engine.url
    assert running_engines() == []


@pytest.mark.usefixtures("cache")
def test_the_variable_goes_before_a_served_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedEngine(info=INFO) as ours, ScriptedEngine(info=INFO) as theirs:
        monkeypatch.setenv("AGENTRT_URL", theirs.url)
        with served(note(ours.url)):
            assert connected_url() == theirs.url


@pytest.mark.usefixtures("cache")
def test_a_key_opens_a_served_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTRT_API_KEY", "s3cret")
    with (
        ScriptedEngine(info=INFO, api_key="s3cret") as engine,
        served(note(engine.url, needs_key=True)),
    ):
        assert connected_url() == engine.url


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("reason", ["its key is not ours", "nothing answers", "no plug-in"])
def test_a_served_engine_that_is_of_no_use_is_passed_over(reason: str) -> None:
    with ScriptedEngine(info=None if reason == "no plug-in" else INFO) as engine:
        url = "http://127.0.0.1:1" if reason == "nothing answers" else engine.url
        # Passed over: an engine would be started now, which fails for want of a model.
        with (
            served(note(url, needs_key=reason == "its key is not ours")),
            pytest.raises(ModelNotFound),
        ):
            connected_url()


@pytest.mark.usefixtures("cache")
def test_notes_that_are_stale_or_damaged_do_no_harm(tmp_path: Path) -> None:
    dead = 2**22 + 1  # no process has a number that high
    with served(note("http://127.0.0.1:1", pid=dead)):
        damaged = tmp_path / "running/serve-1.json"
        damaged.write_text("{")
        assert running_engines() == []
        assert list((tmp_path / "running").iterdir()) == [damaged]
