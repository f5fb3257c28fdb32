"""Engines that are not there, refuse, or go away."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from agentrt import Context, ProgramState, Runtime, agent, connect
from agentrt.errors import (
    AgentrtError,
    EngineLost,
    EngineUnreachable,
    ModelRequestFailed,
    SettingError,
)
from agentrt.testing import dies, says
from agentrt_engine.sglang.ports import free_port
from tests.support.scripted_engine import INFO, ScriptedEngine


@agent
async def talker(ctx: Context, prompt: str = "Hi") -> str:
    """You talk."""
    return await ctx.loop(prompt)


def talk(url: str, **options: Any) -> str:
    async def main() -> str:
        async with connect(url, **options) as runtime:
            return (await runtime.run(talker)).output

    return anyio.run(main)


def test_nothing_at_the_url() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(EngineUnreachable, match=f"no engine answers at {url}") as caught:
        talk(url)
    assert "agentrt serve" in caught.value.hint


@pytest.mark.parametrize("url", ["127.0.0.1:30000", "ftp://host", "http://", "http://[::1"])
def test_an_unusable_url_is_named(url: str) -> None:
    with pytest.raises(SettingError, match="is not the URL of an engine"):
        talk(url)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_a_url_may_end_in_v1(suffix: str) -> None:
    with ScriptedEngine([says("hello")]) as engine:
        assert talk(engine.url + suffix) == "hello"


def test_a_server_that_is_no_engine() -> None:
    with (
        ScriptedEngine() as engine,
        pytest.raises(EngineUnreachable, match="gave no list of models"),
    ):
        talk(engine.url + "/elsewhere")


def test_the_engine_describes_itself() -> None:
    async def main(url: str) -> None:
        async with connect(url) as runtime:
            assert (runtime.engine.url, runtime.engine.model) == (url, "scripted")
            assert runtime.engine.info == INFO

    with ScriptedEngine(info=INFO) as engine:
        anyio.run(main, engine.url)


def test_the_url_and_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        async with connect() as runtime:
            return (await runtime.run(talker)).output

    with ScriptedEngine([says("hello")], api_key="s3cret") as engine:
        monkeypatch.setenv("AGENTRT_URL", engine.url)
        monkeypatch.setenv("AGENTRT_API_KEY", "s3cret")
        assert anyio.run(main) == "hello"


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with ScriptedEngine([says("hello")]) as engine:
        assert talk(engine.url) == "hello"


def test_a_wrong_key_is_refused_at_once() -> None:
    with ScriptedEngine(api_key="s3cret") as engine:
        with pytest.raises(ModelRequestFailed, match="HTTP 401: 'Unauthorized'") as caught:
            talk(engine.url, api_key="guess")
        assert "api_key" in caught.value.hint
        assert caught.value.status == 401


def test_a_refused_request_says_why() -> None:
    with (
        ScriptedEngine([says("context too long", status=400)]) as engine,
        pytest.raises(ModelRequestFailed, match="HTTP 400: 'context too long'"),
    ):
        talk(engine.url)


def test_an_engine_that_never_answers_counts_as_lost() -> None:
    with (
        ScriptedEngine([says("late", delay_s=0.5)]) as engine,
        pytest.raises(EngineLost, match="ReadTimeout"),
    ):
        talk(engine.url, request_timeout=0.1)


def test_an_engine_lost_in_mid_run_fails_what_runs_and_keeps_what_finished() -> None:
    async def main(url: str) -> None:
        async with connect(url) as runtime:
            await runtime.run(talker, "first")
            with pytest.raises(EngineLost, match="went away during a request"):
                await runtime.run(talker, "second")
            with pytest.raises(EngineLost):
                await runtime.run(talker, "third")
        finished, *lost = runtime.programs
        assert (finished.state, finished.output) == (ProgramState.FINISHED, "hello")
        assert len(finished.turns) == 1
        assert [program.state for program in lost] == [ProgramState.FAILED] * 2
        assert all(program.error.startswith("EngineLost: ") for program in lost)

    with ScriptedEngine([says("hello"), dies()]) as engine:
        anyio.run(main, engine.url)


def test_many_programs_in_flight_all_learn_that_the_engine_is_lost() -> None:
    outcomes: list[AgentrtError] = []

    async def main(url: str) -> None:
        async with connect(url) as runtime:

            async def one() -> None:
                with pytest.raises(EngineLost) as caught:
                    await runtime.run(talker)
                outcomes.append(caught.value)

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(one)

    with ScriptedEngine([*[says("late", delay_s=5)] * 3, dies()]) as engine:
        anyio.run(main, engine.url)
    assert len(outcomes) == 4


def test_a_runtime_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="use `async with`"):
        _ = Runtime("http://127.0.0.1:1").engine
