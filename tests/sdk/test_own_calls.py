"""Tools that an agent calls itself, and turns without tools."""

from __future__ import annotations

import anyio
import pytest

from agentrt import Budget, Context, ToolOutcome, agent, tool
from agentrt.errors import BudgetExceeded, ToolFailed
from agentrt.testing import answer, says
from agentrt_engine.wire.hints import HintKind
from tests.sdk.test_loop import lookup, messages, run
from tests.support.scripted_engine import INFO, ScriptedEngine


@tool(timeout=0.05)
async def measure(ctx: Context, lengths: list[int]) -> dict[str, int]:
    """Measure."""
    if not lengths:
        await anyio.sleep_forever()
    return {"longest": max(lengths), "of": len(ctx.messages)}


def test_an_agent_gets_the_value_that_its_tool_returned() -> None:
    @agent
    async def worker(ctx: Context) -> dict[str, int]:
        """You work."""
        await ctx.say("hello")
        found: dict[str, int] = await ctx.call(measure, lengths=[3, 1])
        return found

    with ScriptedEngine([says("hi")], info=INFO) as engine:
        result = run(engine, worker)
    assert result.output == {"longest": 3, "of": 3}
    [called] = result.program.turns[0].tools
    assert (called.name, called.outcome) == ("measure", ToolOutcome.FINISHED)
    kinds = [hint.kind for hint in engine.hints]
    assert kinds == [HintKind.TOOL_STARTED, HintKind.TOOL_FINISHED, HintKind.ENDED]
    assert len(messages(engine)) == 2


def test_a_call_that_does_not_finish_is_raised() -> None:
    @agent
    async def worker(ctx: Context) -> list[str]:
        """You work."""
        told = []
        for lengths in ([], ["x"]):
            try:
                await ctx.call(measure, lengths=lengths)
            except ToolFailed as error:
                told.append(f"{error.outcome}: {error}")
        return told

    with ScriptedEngine() as engine:
        result = run(engine, worker)
    timed_out, rejected = result.output
    assert timed_out == "timed_out: measure was stopped: it did not finish within 0.05 s"
    assert rejected.startswith("rejected: the arguments of measure do not fit: lengths.0: Input")
    assert len(result.program.tool_calls) == 2


def test_own_calls_count_against_the_budget() -> None:
    @agent(tools=[lookup], budget=Budget(tool_calls=1))
    async def worker(ctx: Context) -> None:
        """You work."""
        await ctx.call(lookup, word="cat")
        await ctx.call(lookup, word="dog")

    with ScriptedEngine() as engine, pytest.raises(BudgetExceeded) as caught:
        run(engine, worker)
    assert caught.value.limit == "tool_calls"


def test_saying_is_one_turn_of_text() -> None:
    @agent(tools=[lookup])
    async def worker(ctx: Context) -> tuple[str, str]:
        """You work."""
        return await ctx.say("plain?"), await ctx.loop("and now?")

    with ScriptedEngine([says("plain."), answer("done")]) as engine:
        assert run(engine, worker).output == ("plain.", "done")
    first, second = engine.requests
    assert "response_format" not in first.body
    assert "response_format" in second.body
    assert first.body["tools"] == second.body["tools"]
