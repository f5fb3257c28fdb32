"""What happens to tool calls that hang, fail, say too much or are cancelled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from agentrt import Context, Program, ProgramState, Tool, ToolOutcome, agent, connect, tool
from agentrt.errors import EngineLost
from agentrt.testing import answer, call
from tests.support.scripted_engine import ScriptedEngine


def call_once(used: Tool, **arguments: Any) -> tuple[str, Program]:
    """What the model is shown of one call, and the program around it."""

    @agent(tools=[used])
    async def caller(ctx: Context) -> None:
        """You call."""
        await ctx.loop("call it")

    async def main(url: str) -> Program:
        async with connect(url) as runtime:
            return (await runtime.run(caller)).program

    with ScriptedEngine([call(used.name, **arguments), answer("done")]) as engine:
        program = anyio.run(main, engine.url)
    shown: str = engine.requests[-1].body["messages"][-1]["content"]
    return shown, program


@contextmanager
def released() -> Iterator[threading.Event]:
    """An event that sync tools wait for, set at the end so that no thread outlives the test."""
    event = threading.Event()
    before = set(threading.enumerate())
    try:
        yield event
    finally:
        event.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(timeout=5)
            assert not thread.is_alive()


def test_an_async_tool_that_hangs_is_stopped() -> None:
    stopped = []

    @tool(timeout=0.05)
    async def hang() -> None:
        """Hang."""
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(True)

    shown, program = call_once(hang)
    assert shown == "hang was stopped: it did not finish within 0.05 s"
    assert stopped == [True]
    [called] = program.tool_calls
    assert called.outcome is ToolOutcome.TIMED_OUT
    assert 0.05 <= called.seconds < 1
    assert called.error == shown


def test_a_sync_tool_that_hangs_is_left_behind() -> None:
    with released() as event:

        @tool(timeout=0.05)
        def hang() -> None:
            """Hang."""
            event.wait()

        shown, program = call_once(hang)
    assert shown == "hang was stopped: it did not finish within 0.05 s"
    assert program.state is ProgramState.FINISHED


def test_a_sync_tool_that_hangs_does_not_keep_the_process_alive() -> None:
    script = """
import threading, anyio
from agentrt.abandonable import run_abandonable

async def main():
    with anyio.move_on_after(0.05):
        await run_abandonable(threading.Event().wait, name="hang")

anyio.run(main)
"""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    assert time.monotonic() - started < 20


def test_a_sync_tool_that_ends_after_the_event_loop_says_nothing() -> None:
    with released() as event:

        @tool(timeout=0.05)
        def late() -> None:
            """Be late."""
            event.wait()
            raise ValueError("nobody listens")

        call_once(late)  # an exception in the thread would fail the test through its hook


def test_a_sync_tool_runs_beside_the_event_loop() -> None:
    @tool
    def where(ctx: Context) -> str:
        """Say where this runs."""
        return f"{threading.current_thread().name} of {ctx.program.label}"

    shown, _program = call_once(where)
    assert shown == "tool where of caller#1"


def test_a_failing_tool_is_shown_to_the_model() -> None:
    @tool
    async def divide(by: int) -> float:
        """Divide one."""
        return 1 / by

    shown, program = call_once(divide, by=0)
    assert shown == "divide failed: ZeroDivisionError: division by zero"
    assert [c.outcome for c in program.tool_calls] == [ToolOutcome.FAILED]
    assert program.state is ProgramState.FINISHED


def test_a_timeout_inside_a_tool_is_a_failure_of_the_tool() -> None:
    @tool(timeout=5)
    async def impatient() -> None:
        """Wait a moment."""
        with anyio.fail_after(0.01):
            await anyio.sleep_forever()

    shown, program = call_once(impatient)
    assert shown.startswith("impatient failed: TimeoutError")
    assert [c.outcome for c in program.tool_calls] == [ToolOutcome.FAILED]


def test_losing_the_engine_inside_a_tool_ends_the_program() -> None:
    @tool
    async def ask() -> None:
        """Ask another model."""
        raise EngineLost("the engine went away")

    @agent(tools=[ask])
    async def caller(ctx: Context) -> None:
        """You call."""
        await ctx.loop("call it")

    async def main(url: str) -> None:
        async with connect(url) as runtime:
            with pytest.raises(EngineLost):
                await runtime.run(caller)
            [program] = runtime.programs
        assert (program.state, program.error) == (
            ProgramState.FAILED,
            "EngineLost: the engine went away",
        )
        assert [c.outcome for c in program.tool_calls] == [ToolOutcome.FAILED]

    with ScriptedEngine([call("ask")]) as engine:
        anyio.run(main, engine.url)


def test_a_long_result_is_cut_and_says_so() -> None:
    @tool(output_limit=10)
    async def talk() -> str:
        """Talk."""
        return "x" * 5_000

    shown, _program = call_once(talk)
    assert shown == "xxxxxxxxxx\n[cut: 10 of 5,000 characters shown]"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        ("", "(no output)"),
        (None, "(no output)"),
        ({"a": [1, True]}, '{"a":[1,true]}'),
        (3.5, "3.5"),
    ],
)
def test_results_become_text(value: Any, shown: str) -> None:
    @tool
    async def give() -> Any:
        """Give."""
        return value

    assert call_once(give)[0] == shown


@pytest.mark.parametrize("is_async", [True, False])
def test_cancelling_a_program_stops_its_tool_and_keeps_its_turns(is_async: bool) -> None:
    entered: list[bool] = []
    left: list[bool] = []

    with released() as event:

        @tool(timeout=None)
        async def hang_async() -> None:
            """Hang."""
            entered.append(True)
            try:
                await anyio.sleep_forever()
            finally:
                left.append(True)

        @tool(timeout=None)
        def hang_sync() -> None:
            """Hang."""
            entered.append(True)
            event.wait()
            left.append(True)

        hang = hang_async if is_async else hang_sync

        @agent(tools=[hang])
        async def caller(ctx: Context) -> None:
            """You call."""
            await ctx.loop("call it")

        async def main(url: str) -> Program:
            async with connect(url) as runtime:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(runtime.run, caller)
                    while not entered:  # noqa: ASYNC110 - set by another thread
                        await anyio.sleep(0.005)
                    assert runtime.programs[0].state is ProgramState.TOOL
                    assert runtime.programs[0].current_tool == hang.name
                    tasks.cancel_scope.cancel()
                return runtime.programs[0]

        with ScriptedEngine([call(hang.name)]) as engine:
            program = anyio.run(main, engine.url)
    assert left == [True]
    assert program.state is ProgramState.CANCELLED
    assert program.ended is not None
    assert program.current_tool is None
    assert [c.outcome for c in program.tool_calls] == [ToolOutcome.CANCELLED]
    assert len(program.turns) == 1
