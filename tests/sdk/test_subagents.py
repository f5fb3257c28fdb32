"""Programs that start programs."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from agentrt import Context, Program, ProgramState, agent, connect, tool
from agentrt.errors import ProgramCancelled
from agentrt.testing import call, says
from agentrt_engine.wire.identity import PARENT_ID, PROGRAM_ID
from tests.sdk.test_loop import run
from tests.support.scripted_engine import ScriptedEngine


@agent
async def echo(ctx: Context, word: str) -> str:
    """You repeat."""
    return await ctx.loop(word)


@agent
async def failing(ctx: Context, word: str) -> str:
    """You fail."""
    raise ValueError(word)


@agent
async def sleeper(ctx: Context) -> None:
    """You sleep."""
    await anyio.sleep_forever()


def programs(engine: ScriptedEngine, main: Any) -> list[Program]:
    """Of a runtime in which `main` runs."""

    async def inside() -> list[Program]:
        async with connect(engine.url) as runtime:
            await main(runtime)
            return runtime.programs

    return anyio.run(inside)


def test_a_program_starts_others_and_takes_their_results() -> None:
    @agent
    async def boss(ctx: Context) -> list[str]:
        """You lead."""
        first = ctx.spawn(echo, "one")
        second = ctx.spawn(echo, word="two")
        return [await second, await first]

    with ScriptedEngine([[says("uno")], [says("due")]]) as engine:
        result = run(engine, boss)
    assert result.output == ["due", "uno"]
    assert [child.output for child in result.program.children] == ["uno", "due"]
    assert all(child.parent is result.program for child in result.program.children)
    parents = {request.headers[PARENT_ID.lower()] for request in engine.requests}
    assert parents == {result.program.program_id}
    ids = {request.headers[PROGRAM_ID.lower()] for request in engine.requests}
    assert ids == {child.program_id for child in result.program.children}


def test_gather_gives_results_in_order() -> None:
    @agent
    async def boss(ctx: Context) -> list[str]:
        """You lead."""
        return await ctx.gather(*(ctx.spawn(echo, word) for word in "abc"))

    scripts = [[says(word.upper(), delay_s=0.1 * (3 - n))] for n, word in enumerate("abc")]
    with ScriptedEngine(scripts) as engine:
        result = run(engine, boss)
    # Whose request comes first, and so gets which script, is chance.
    assert result.output == [child.output for child in result.program.children]
    assert sorted(result.output) == ["A", "B", "C"]


def test_a_program_waits_for_those_it_started() -> None:
    @agent
    async def boss(ctx: Context) -> str:
        """You lead."""
        ctx.spawn(echo, "one")
        return "over"

    with ScriptedEngine([says("uno", delay_s=0.1)]) as engine:
        program = run(engine, boss).program
    [child] = program.children
    assert child.state is ProgramState.FINISHED
    assert child.ended is not None
    assert program.ended is not None
    assert child.ended <= program.ended


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    @agent
    async def boss(ctx: Context) -> str:
        """You lead."""
        child = ctx.spawn(failing, "oh")
        try:
            await child
        except ValueError as error:
            return f"caught {error}"
        return "?"

    with ScriptedEngine() as engine:
        result = run(engine, boss)
    assert result.output == "caught oh"
    assert result.program.children[0].error == "ValueError: oh"


def test_a_failure_that_nobody_looks_at_is_not_lost() -> None:
    @agent
    async def boss(ctx: Context) -> None:
        """You lead."""
        ctx.spawn(failing, "oh")

    with ScriptedEngine() as engine, pytest.raises(ValueError, match="oh"):
        run(engine, boss)


def test_a_program_that_fails_takes_those_it_started_with_it() -> None:
    @agent
    async def boss(ctx: Context) -> None:
        """You lead."""
        ctx.spawn(sleeper)
        await anyio.sleep(0.01)
        raise KeyError("boss")

    async def main(runtime: Any) -> None:
        with pytest.raises(KeyError, match="boss"):
            await runtime.run(boss)

    with ScriptedEngine() as engine:
        boss_program, child = programs(engine, main)
    assert boss_program.state is ProgramState.FAILED
    assert child.state is ProgramState.CANCELLED


def test_gather_cancels_the_others_when_one_fails() -> None:
    @agent
    async def boss(ctx: Context) -> str:
        """You lead."""
        with pytest.raises(ValueError, match="oh"):
            await ctx.gather(ctx.spawn(failing, "oh"), ctx.spawn(sleeper))
        return "over"

    with ScriptedEngine() as engine:
        program = run(engine, boss).program
    assert [child.state for child in program.children] == [
        ProgramState.FAILED,
        ProgramState.CANCELLED,
    ]


def test_a_started_program_can_be_cancelled() -> None:
    @agent
    async def boss(ctx: Context) -> str:
        """You lead."""
        child = ctx.spawn(sleeper)
        await anyio.sleep(0.01)
        child.cancel()
        with pytest.raises(ProgramCancelled, match="sleeper#1 was cancelled"):
            await child
        return "over"

    with ScriptedEngine() as engine:
        program = run(engine, boss).program
    assert program.state is ProgramState.FINISHED
    assert program.children[0].state is ProgramState.CANCELLED


def test_cancelling_reaches_every_level_and_its_tools() -> None:
    stopped: list[str] = []
    entered = anyio.Event()

    @tool(timeout=None)
    async def hang() -> None:
        """Hang."""
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append("tool")

    @agent(tools=[hang])
    async def worker(ctx: Context) -> None:
        """You work."""
        try:
            await ctx.loop("work")
        finally:
            stopped.append("worker")

    @agent
    async def manager(ctx: Context) -> None:
        """You manage."""
        await ctx.spawn(worker)

    @agent
    async def boss(ctx: Context) -> None:
        """You lead."""
        await ctx.spawn(manager)

    async def main(runtime: Any) -> None:
        async with runtime.start(boss):
            await entered.wait()

    with ScriptedEngine([call("hang")]) as engine:
        found = programs(engine, main)
    assert [program.agent for program in found] == ["boss", "manager", "worker"]
    assert {program.state for program in found} == {ProgramState.CANCELLED}
    assert stopped == ["tool", "worker"]
    assert len(found[-1].turns) == 1


def test_a_block_around_a_program_gets_its_result() -> None:
    outputs = []

    async def main(runtime: Any) -> None:
        async with runtime.start(echo, "one") as running:
            assert running.program.agent == "echo"
            outputs.append(await running)

    with ScriptedEngine([says("uno")]) as engine:
        [program] = programs(engine, main)
    assert outputs == [program.output] == ["uno"]


def test_a_block_raises_the_failure_of_its_program() -> None:
    async def main(runtime: Any) -> None:
        with pytest.raises(ValueError, match="oh"):
            async with runtime.start(failing, "oh") as running:
                await running
        with pytest.raises(ValueError, match="again"):
            async with runtime.start(failing, "again"):
                await anyio.sleep(0.05)

    with ScriptedEngine() as engine:
        assert len(programs(engine, main)) == 2


def test_what_a_block_raises_cancels_its_program() -> None:
    async def main(runtime: Any) -> None:
        with pytest.raises(KeyError, match="mine"):
            async with runtime.start(sleeper):
                await anyio.sleep(0.01)
                raise KeyError("mine")

    with ScriptedEngine() as engine:
        [program] = programs(engine, main)
    assert program.state is ProgramState.CANCELLED


def test_the_record_says_whom_a_turn_waited_for() -> None:
    @agent(max_turns=2)
    async def boss(ctx: Context) -> str:
        """You lead."""
        await ctx.loop("plan")
        await ctx.spawn(echo, "one")
        return await ctx.loop("sum up")

    scripts = [[says("plan"), says("sum")], [says("uno")]]
    with ScriptedEngine(scripts) as engine:
        program = run(engine, boss).program
    [child] = program.children
    record = program.record(0.0)
    assert [turn.waits_for for turn in record.turns] == [(child.program_id,), ()]
    assert child.record(0.0).parent_id == program.program_id
