"""What an engine is told of a program between its requests."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agentrt import Context, agent, connect, tool
from agentrt.testing import answer, call
from agentrt_engine.wire.hints import HINTS_EXPLICIT, HINTS_HEADER, HintKind
from tests.support.scripted_engine import INFO, ScriptedEngine


@tool
def look(path: str) -> str:
    """Look at a file."""
    return Path(path).name


@agent(tools=[look])
async def reader(ctx: Context, task: str) -> str:
    """Read."""
    return await ctx.loop(task)


@agent
async def broken(ctx: Context) -> None:
    """Break after one turn."""
    await ctx.loop("hello")
    raise KeyError("a mistake of the author")


@agent
async def idle(ctx: Context) -> None:
    """Ask for nothing."""


def test_tools_are_told_as_they_start_and_end_and_the_end_of_the_program_too() -> None:
    async def main() -> str:
        async with connect(engine.url) as runtime:
            return (await runtime.run(reader, "read a.txt")).program.program_id

    with ScriptedEngine([call("look", path="a.txt"), answer("done")], info=INFO) as engine:
        program_id = anyio.run(main)

    assert [(hint.kind, hint.tool, hint.outcome) for hint in engine.hints] == [
        (HintKind.TOOL_STARTED, "look", None),
        (HintKind.TOOL_FINISHED, "look", "finished"),
        (HintKind.ENDED, None, None),
    ]
    assert {hint.program_id for hint in engine.hints} == {program_id}
    started, finished, _ended = engine.hints
    assert started.call_id == finished.call_id is not None
    assert engine.requests[0].headers[HINTS_HEADER.lower()] == HINTS_EXPLICIT


def test_a_program_that_fails_has_ended_as_well() -> None:
    async def main() -> None:
        async with connect(engine.url) as runtime:
            with pytest.raises(KeyError):
                await runtime.run(broken)

    with ScriptedEngine([answer("hi")], info=INFO) as engine:
        anyio.run(main)

    assert [hint.kind for hint in engine.hints] == [HintKind.ENDED]


def test_of_a_program_without_a_turn_the_engine_is_told_nothing() -> None:
    async def main() -> None:
        async with connect(engine.url) as runtime:
            await runtime.run(idle)

    with ScriptedEngine(info=INFO) as engine:
        anyio.run(main)

    assert engine.hints == []


def test_another_engine_is_told_nothing() -> None:
    async def main() -> None:
        async with connect(engine.url) as runtime:
            await runtime.run(reader, "read a.txt")

    with ScriptedEngine([call("look", path="a.txt"), answer("done")]) as engine:
        anyio.run(main)

    assert engine.hints == []
