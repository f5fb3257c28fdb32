"""What a program may use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Agent, Budget, Context, Program, ProgramState, agent, connect
from agentrt.errors import BudgetExceeded, DefinitionError
from agentrt.program import Turn
from agentrt.testing import answer, call, says
from agentrt_engine.wire.identity import CUSTOM_PARAMS_KEY
from tests.sdk.test_loop import lookup, messages, run, schema
from tests.support.scripted_engine import INFO, ScriptedEngine


@agent(tools=[lookup], max_turns=4)
async def reader(ctx: Context, question: str = "What is a cat?") -> str:
    """You read a dictionary."""
    return await ctx.loop(question)


def within(budget: Budget, program: Agent[..., Any] = reader) -> Agent[..., Any]:
    return replace(program, budget=budget)


def test_the_last_turn_of_a_budget_forces_an_answer() -> None:
    with ScriptedEngine([call("lookup", word="cat"), answer("A pet.")]) as engine:
        assert run(engine, within(Budget(turns=2))).output == "A pet."
    assert "anyOf" in schema(engine, 0)
    assert list(schema(engine, 1)["properties"]) == ["answer"]


def test_a_budget_of_turns_is_of_all_loops_together() -> None:
    @agent(budget=Budget(turns=2))
    async def talker(ctx: Context) -> None:
        """You talk."""
        for number in range(5):
            await ctx.loop(f"{number}?")

    with (
        ScriptedEngine([says("0"), says("1")]) as engine,
        pytest.raises(BudgetExceeded, match="talker#1 has used 2 of the 2 turns") as caught,
    ):
        run(engine, talker)
    assert caught.value.limit == "turns"
    assert len(engine.requests) == 2


def test_without_a_tool_call_left_the_model_can_only_answer() -> None:
    with ScriptedEngine([call("lookup", word="cat"), answer("A pet.")]) as engine:
        program = run(engine, within(Budget(tool_calls=1))).program
    assert len(program.tool_calls) == 1
    assert list(schema(engine, 1)["properties"]) == ["answer"]


def test_a_reply_is_as_long_as_the_tokens_that_are_left() -> None:
    @agent(budget=Budget(tokens=1_000), max_tokens=512)
    async def talker(ctx: Context) -> str:
        """You talk."""
        await ctx.loop("first")
        await ctx.loop("second")
        return await ctx.loop("third")

    steps = [says("a", input_tokens=200, output_tokens=100)]
    steps += [says("b", input_tokens=320, output_tokens=80)]
    with ScriptedEngine(steps) as engine, pytest.raises(BudgetExceeded) as caught:
        run(engine, talker)
    assert [request.body["max_tokens"] for request in engine.requests] == [512, 400]
    assert "has used 700 of the 1,000 tokens" in str(caught.value)


def test_time_is_looked_at_before_each_call() -> None:
    @agent(budget=Budget(seconds=0.1))
    async def slow(ctx: Context) -> str:
        """You are slow."""
        first = await ctx.loop("first")
        await anyio.sleep(0.15)
        try:
            await ctx.loop("second")
        except BudgetExceeded as error:
            return f"{first}, then no {error.limit} left"
        return "?"

    with ScriptedEngine([says("one")]) as engine:
        result = run(engine, slow)
    assert result.output == "one, then no seconds left"
    assert result.program.state is ProgramState.FINISHED


def test_the_history_outlives_the_budget() -> None:
    kept: list[Any] = []

    @agent(budget=Budget(turns=1))
    async def talker(ctx: Context) -> str:
        """You talk."""
        await ctx.loop("first")
        try:
            return await ctx.loop("second")
        finally:
            kept.extend(ctx.messages)

    with ScriptedEngine([says("one")]) as engine, pytest.raises(BudgetExceeded):
        run(engine, talker)
    assert [message["content"] for message in kept] == ["You talk.", "first", "one", "second"]


def test_children_have_budgets_of_their_own() -> None:
    @agent(budget=Budget(turns=1))
    async def child(ctx: Context) -> str:
        """You work."""
        return await ctx.loop("work")

    @agent(budget=Budget(turns=1))
    async def boss(ctx: Context) -> list[str]:
        """You lead."""
        await ctx.loop("lead")
        return await ctx.gather(ctx.spawn(child), ctx.spawn(child))

    with ScriptedEngine([[says("led")], [says("a")], [says("b")]]) as engine:
        assert sorted(run(engine, boss).output) == ["a", "b"]


def test_the_engine_is_told_the_most_turns_and_the_agent() -> None:
    with ScriptedEngine([answer("A pet.")], info=INFO) as engine:
        run(engine, within(Budget(turns=7)))
    tag = engine.requests[0].body["custom_params"][CUSTOM_PARAMS_KEY]
    assert (tag["max_turns"], tag["agent"]) == (7, "reader")
    assert messages(engine)[-1]["content"] == "What is a cat?"


@pytest.mark.parametrize("limit", ["turns", "tokens", "seconds", "tool_calls"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_budget_that_permits_nothing_is_refused(limit: str, value: int) -> None:
    limits: dict[str, Any] = {limit: value}
    with pytest.raises(DefinitionError, match=f"{limit}={value}; expected more than 0"):
        Budget(**limits)


@given(
    tokens=st.integers(1, 5_000),
    turns=st.lists(st.tuples(st.integers(1, 900), st.integers(1, 300)), max_size=6),
    max_tokens=st.integers(1, 1_000),
)
def test_permitted_replies_never_exceed_the_tokens(
    tokens: int, turns: list[tuple[int, int]], max_tokens: int
) -> None:
    program = Program("p", "agent", 1)
    budget = Budget(tokens=tokens)
    for grows_by, wanted in turns:
        last = program.turns[-1] if program.turns else None
        prompt = last.input_tokens + last.output_tokens if last else 0
        used = program.input_tokens + program.output_tokens
        try:
            permitted = budget.check_turn(program, max_tokens, 0.0)
        except BudgetExceeded:
            assert used + prompt >= tokens
            return
        assert 1 <= permitted <= max_tokens
        assert used + prompt + permitted <= tokens
        output = min(wanted, permitted)
        program.end_turn(Turn(0.0, 0.0, prompt + grows_by, output, None, None, True, "stop"))


def test_a_budget_belongs_to_the_agent_and_can_be_replaced() -> None:
    async def main(url: str) -> str:
        async with connect(url) as runtime:
            return str((await runtime.run(replace(reader, budget=Budget(turns=1)))).output)

    with ScriptedEngine([answer("A pet.")]) as engine:
        assert anyio.run(main, engine.url) == "A pet."
