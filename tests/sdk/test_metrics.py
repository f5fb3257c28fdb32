"""OpenTelemetry metrics of a run: values, attributes, buckets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics.export import Metric

from agentrt import Context, agent, connect, tool
from agentrt.errors import EngineLost
from agentrt.runtime import Runtime
from agentrt.testing import Step, answer, call, dies, says
from tests.support.scripted_engine import ScriptedEngine
from tests.support.telemetry import exported, points

OF_REQUEST = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "scripted",
    "gen_ai.agent.name": "worker",
}
OF_REPLY = OF_REQUEST | {"gen_ai.response.model": "scripted"}


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def measured(
    steps: list[Step], run: Callable[[Runtime], Awaitable[object]], clock: Clock | None = None
) -> dict[str, Metric]:
    async def main(url: str) -> None:
        async with connect(url, clock=clock or Clock(), **telemetry.providers) as runtime:
            await run(runtime)

    with ScriptedEngine(steps) as engine, exported() as telemetry:
        anyio.run(main, engine.url)
        return telemetry.metrics()


def test_durations_are_those_of_the_clock() -> None:
    clock = Clock()

    @tool
    async def wait(seconds: float) -> str:
        """Wait."""
        clock.now += seconds
        return "waited"

    @agent(tools=[wait])
    async def worker(ctx: Context) -> str:
        """You work."""
        clock.now += 5
        return await ctx.loop("go")

    async def run(runtime: Runtime) -> None:
        with runtime.workflow("work"):
            await runtime.run(worker)

    steps = [call("wait", seconds=20), call("wait", seconds=0.5), answer("done")]
    taken = measured(steps, run, clock)
    of_agent = {"gen_ai.agent.name": "worker"}
    expected: dict[str, tuple[dict[str, Any], float]] = {
        "gen_ai.invoke_workflow.duration": ({"gen_ai.workflow.name": "work"}, 25.5),
        "gen_ai.invoke_agent.duration": (of_agent | {"gen_ai.request.model": "scripted"}, 25.5),
        "gen_ai.execute_tool.duration": (
            of_agent | {"gen_ai.tool.name": "wait", "gen_ai.tool.type": "function"},
            20.5,
        ),
        "gen_ai.client.inference.duration": (OF_REPLY, 0.0),
    }
    for name, (attributes, seconds) in expected.items():
        [(found, point)] = points(taken[name])
        assert (found, point.sum) == (attributes, pytest.approx(seconds)), name


def test_calls_of_a_program_are_counted_once_it_ends() -> None:
    @tool
    async def nothing() -> None:
        """Do nothing."""

    @agent(tools=[nothing])
    async def worker(ctx: Context) -> str:
        """You work."""
        await ctx.call(nothing)
        return await ctx.loop("go")

    async def run(runtime: Runtime) -> None:
        await runtime.run(worker)
        await runtime.run(worker)

    steps = [call("nothing"), call("made_up"), answer("done"), answer("done")]
    taken = measured(steps, run)
    for name, counts in (("inference_calls", (3, 1)), ("tool_calls", (3, 1))):
        [(attributes, point)] = points(taken[f"gen_ai.invoke_agent.{name}"])
        assert attributes == {"gen_ai.agent.name": "worker"}
        assert (point.count, point.max, point.min) == (2, *counts)


@agent
async def worker(ctx: Context) -> str:
    """You work."""
    return await ctx.say("go")


def test_tokens_are_summed() -> None:
    async def run(runtime: Runtime) -> None:
        await runtime.run(worker)
        await runtime.run(worker)

    counts = {"output_tokens": 7, "cached_tokens": 60, "reasoning_tokens": 3}
    steps = [says("x", input_tokens=100, **counts), says("x", input_tokens=200, **counts)]
    taken = measured(steps, run)
    for name, tokens in (
        ("input_tokens", 300),
        ("output_tokens", 14),
        ("cache_read.input_tokens", 120),
        ("reasoning.output_tokens", 6),
    ):
        [(attributes, point)] = points(taken[f"gen_ai.client.inference.usage.{name}"])
        assert attributes == OF_REPLY | {"gen_ai.token.modality": "text"}
        assert point.value == tokens


def test_what_an_engine_does_not_tell_is_not_measured() -> None:
    async def run(runtime: Runtime) -> None:
        await runtime.run(worker)

    taken = measured([says("x")], run)
    assert not [name for name in taken if "cache_read" in name or "reasoning" in name]


def test_a_request_that_fails_is_measured_without_tokens() -> None:
    async def run(runtime: Runtime) -> None:
        with pytest.raises(EngineLost):
            await runtime.run(worker)

    taken = measured([dies()], run)
    failed = {"error.type": "EngineLost"}
    [(attributes, point)] = points(taken["gen_ai.client.inference.duration"])
    assert (attributes, point.count) == (OF_REQUEST | failed, 1)
    [(attributes, point)] = points(taken["gen_ai.client.inference.usage.input_tokens"])
    assert (attributes, point.value) == (OF_REQUEST | {"gen_ai.token.modality": "unknown"}, 0)
    [(attributes, _point)] = points(taken["gen_ai.invoke_agent.duration"])
    assert attributes["error.type"] == "EngineLost"


def test_runtimes_without_a_provider_share_their_instruments() -> None:
    async def main(url: str) -> None:
        for _ in range(3):
            async with connect(url):
                pass

    known = getattr(metrics.get_meter_provider(), "_meters")  # noqa: B009 - not public
    with ScriptedEngine() as engine:
        anyio.run(main, engine.url)
        before = len(known)
        anyio.run(main, engine.url)
    assert len(known) == before
