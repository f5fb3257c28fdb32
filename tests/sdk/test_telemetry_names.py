"""Every name that is emitted stands in `telemetry_names.json` and in the module of names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics.export import Metric
from opentelemetry.sdk.trace import ReadableSpan

from agentrt import Budget, Context, ToolOutcome, agent, connect, tool
from agentrt.errors import BudgetExceeded, EngineLost, ModelRequestFailed
from agentrt.runtime import Runtime
from agentrt.testing import answer, call, dies, says
from agentrt_engine.wire import telemetry
from tests.support.scripted_engine import INFO, ScriptedEngine
from tests.support.telemetry import Exported, attributes, exported, points

SNAPSHOT = Path(__file__).with_name("telemetry_names.json")

#: What stands after the operation in a span's name.
TARGETS = {
    telemetry.INVOKE_WORKFLOW: telemetry.WORKFLOW_NAME,
    telemetry.INVOKE_AGENT: telemetry.AGENT_NAME,
    telemetry.CHAT: telemetry.REQUEST_MODEL,
    telemetry.EXECUTE_TOOL: telemetry.TOOL_NAME,
}

#: Of each run: the tool that will be cancelled has begun.
BEGUN: list[anyio.Event] = []

TERMS = {"ttl_s": 3.0, "held_tokens": 9, "pause_s": {"0.5": 1.0, "0.95": 2.0}}


@tool
async def fine() -> str:
    """Work."""
    return "well"


@tool
async def broken() -> None:
    """Fail."""
    raise ValueError("no")


@tool(timeout=0.05)
async def slow() -> None:
    """Hang."""
    await anyio.sleep_forever()


@tool(timeout=None)
async def endless() -> None:
    """Wait to be cancelled."""
    BEGUN[-1].set()
    await anyio.sleep_forever()


@agent(tools=[fine, broken, slow], temperature=0.0, seed=1)
async def worker(ctx: Context) -> str:
    """You work."""
    return await ctx.loop("go")


@agent(tools=[endless])
async def waiter(ctx: Context) -> str:
    """You wait."""
    return await ctx.loop("go")


@agent
async def talker(ctx: Context) -> str:
    """You talk."""
    return await ctx.say("Hi")


@agent(budget=Budget(turns=2))
async def chief(ctx: Context) -> str:
    """You delegate."""
    await ctx.spawn(worker)
    child = ctx.spawn(waiter)
    await BEGUN[-1].wait()
    child.cancel()
    await ctx.say("one")
    await ctx.say("two")
    return await ctx.say("three")


OF_WORKER = [
    says(
        '{"name": "fine", "arguments": {}}',
        input_tokens=10,
        cached_tokens=0,
        queue_s=0.1,
        reasoning_tokens=1,
    ),
    says('{"name": "broken", "arguments": {}}', input_tokens=99, cached_tokens=9),
    call("slow"),
    call("fine", surplus=1),
    call("made_up"),
    answer("done"),
]


async def scenario(runtime: Runtime) -> None:
    """Programs, children, tools of all outcomes, engines that fail."""
    BEGUN.append(anyio.Event())
    with runtime.workflow("all"):
        with pytest.raises(BudgetExceeded):
            await runtime.run(chief)
        with pytest.raises(ModelRequestFailed):
            await runtime.run(worker)
        async with runtime.start(talker) as running:
            assert [event async for event in running.events()]
    with pytest.raises(EngineLost), runtime.workflow("lost"):
        await runtime.run(worker)


def run(*, capture: bool) -> Exported:
    async def main(url: str) -> None:
        async with connect(url, capture_content=capture, **found.providers) as runtime:
            await scenario(runtime)
            ended = [call for program in runtime.programs for call in program.tool_calls]
            assert {call.outcome for call in ended} == {*ToolOutcome} - {ToolOutcome.UNKNOWN}

    scripts = [
        OF_WORKER,
        [call("endless")],
        [says("one"), says("two")],
        [says("too long", status=400)],
        [says("Hello")],
        [dies()],
    ]
    with ScriptedEngine(scripts, info=INFO, terms=TERMS) as engine, exported() as found:
        anyio.run(main, engine.url)
        found.metrics()
    return found


def pattern(span: ReadableSpan) -> str:
    """Name of a span with the key of an attribute in place of its value."""
    operation = attributes(span)[telemetry.OPERATION_NAME]
    assert span.name == f"{operation} {attributes(span)[TARGETS[operation]]}"
    return f"{operation} {{{TARGETS[operation]}}}"


def spans_of(exported: Exported) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for span in exported.spans:
        assert not span.events
        entry = found.setdefault(pattern(span), {"kind": span.kind.name, "attributes": set()})
        assert entry["kind"] == span.kind.name
        entry["attributes"] |= set(attributes(span))
    return found


def described(metric: Metric) -> dict[str, Any]:
    keys = {key for of_point, _point in points(metric) for key in of_point}
    entry = {
        "instrument": type(metric.data).__name__,
        "unit": metric.unit,
        "attributes": sorted(keys),
    }
    _attributes, point = points(metric)[0]
    if hasattr(point, "explicit_bounds"):
        entry["boundaries"] = list(point.explicit_bounds)
    return entry


def test_what_is_emitted_is_what_the_snapshot_says() -> None:
    quiet, open_ = run(capture=False), run(capture=True)
    spans, with_content = spans_of(quiet), spans_of(open_)
    emitted = {
        "spans": {
            name: {
                "kind": entry["kind"],
                "attributes": sorted(entry["attributes"]),
                "content": sorted(with_content[name]["attributes"] - entry["attributes"]),
            }
            for name, entry in sorted(spans.items())
        },
        "metrics": {name: described(metric) for name, metric in sorted(quiet.metrics().items())},
    }
    assert emitted == json.loads(SNAPSHOT.read_text("utf-8")), json.dumps(emitted, indent=2)


def test_the_module_names_what_is_emitted_and_nothing_else() -> None:
    snapshot = json.loads(SNAPSHOT.read_text("utf-8"))
    emitted = {name.partition(" ")[0] for name in snapshot["spans"]} | set(snapshot["metrics"])
    for entry in [*snapshot["spans"].values(), *snapshot["metrics"].values()]:
        emitted |= {*entry["attributes"], *entry.get("content", ())}
    named = [
        value
        for name, value in vars(telemetry).items()
        if name.isupper() and isinstance(value, str)
    ]
    assert sorted(named) == sorted(emitted)


def test_metrics_are_told_apart_by_few_values() -> None:
    identities = {telemetry.CONVERSATION_ID, telemetry.PROGRAM_ID, telemetry.TOOL_CALL_ID}
    snapshot = json.loads(SNAPSHOT.read_text("utf-8"))
    for entry in snapshot["metrics"].values():
        assert not identities & set(entry["attributes"])
