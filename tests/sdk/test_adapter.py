"""Agents that answer through a LoRA adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from agentrt import Context, Journal, agent, connect
from agentrt.errors import DefinitionError, ModelRequestFailed
from agentrt.testing import ScriptedModel, says
from agentrt_engine.sglang.server import EngineProcess
from agentrt_engine.wire import telemetry
from agentrt_engine.wire.info import EngineInfo
from tests.support.scripted_engine import INFO, ScriptedEngine
from tests.support.telemetry import attributes, exported


@agent(adapter="reviewer")
async def reviewer(ctx: Context) -> str:
    """You review."""
    return await ctx.say("Good?")


@agent
async def coder(ctx: Context) -> str:
    """You code."""
    await ctx.say("Code.")
    return await ctx.spawn(reviewer.fork())


@pytest.mark.parametrize(("info", "model"), [(INFO, "scripted:reviewer"), (None, "reviewer")])
def test_its_name_is_part_of_the_models_where_the_engine_is_sglang(
    info: EngineInfo | None, model: str
) -> None:
    async def main(url: str) -> None:
        async with connect(url, **found.providers) as runtime:
            await runtime.run(coder)

    with (
        ScriptedEngine([[says("x = 1")], [says("good")]], info=info) as engine,
        exported() as found,
    ):
        anyio.run(main, engine.url)
        assert [request.body["model"] for request in engine.requests] == ["scripted", model]
    chats = [span for span in found.spans if span.name.startswith(telemetry.CHAT)]
    assert [attributes(span)[telemetry.REQUEST_MODEL] for span in chats] == ["scripted", model]


def test_a_trace_says_which_and_a_resumed_run_knows(tmp_path: Path) -> None:
    def run(model: ScriptedModel, trace: Path) -> None:
        async def main() -> None:
            with Journal(tmp_path / "run") as journal:
                async with model.connect(journal=journal, trace=trace) as runtime:
                    await runtime.run(coder)

        with model:
            anyio.run(main)

    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    run(ScriptedModel([[says("x = 1")], [says("good")]]), first)
    run(ScriptedModel(), second)
    for trace in (first, second):
        assert trace.read_text().count('"adapter":"reviewer"') == 1


@pytest.mark.parametrize("adapter", ["", " "])
def test_a_name_is_needed(adapter: str) -> None:
    async def nobody(ctx: Context) -> None:
        """You are nobody."""

    options: dict[str, Any] = {"adapter": adapter}
    with pytest.raises(DefinitionError, match="expected the name of an adapter"):
        agent(**options)(nobody)


def test_an_engine_that_has_it_not_says_so(engine: EngineProcess) -> None:
    async def main() -> None:
        async with connect(engine.url) as runtime:
            await runtime.run(reviewer)

    with pytest.raises(ModelRequestFailed, match=r"(?i)lora") as caught:
        anyio.run(main)
    assert caught.value.status == 400
