"""Time that passes at once, stands still or goes as it really would."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Budget, Context, ProgramState, ToolOutcome, agent, tool
from agentrt.errors import BudgetExceeded
from agentrt.testing import (
    Deadlock,
    ManualClock,
    ScriptedModel,
    Takes,
    answer,
    call,
    in_virtual_time,
    run_agent,
    says,
    scripted_tool,
)


@tool(timeout=1)
def think(seconds: float) -> str:
    """Think, in a thread."""
    time.sleep(seconds)
    return "thought"


@agent(tools=[think])
async def thinker(ctx: Context) -> str:
    """You think."""
    return await ctx.loop("Think.")


@agent(budget=Budget(seconds=100))
async def slow(ctx: Context) -> str:
    """You take your time."""
    await ctx.loop("One.")
    return await ctx.loop("Two.")


def test_a_clock_goes_on_when_it_is_told_to() -> None:
    clock = ManualClock(5)
    clock.advance(1.5)
    assert clock() == 6.5
    for backwards in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="expected 0 s or more"):
            clock.advance(backwards)


def test_programs_are_timed_by_the_clock_that_is_given() -> None:
    clock = ManualClock()

    @tool
    async def work() -> None:
        """Work."""
        clock.advance(40)

    @agent(tools=[work])
    async def worker(ctx: Context) -> str:
        """You work."""
        return await ctx.loop("Go.")

    async def main() -> None:
        async with model.connect(clock=clock) as runtime:
            program = (await runtime.run(worker)).program
        assert (program.started, program.ended, program.tool_s) == (0, 40, 40)

    model = ScriptedModel([call("work"), answer("Done.")])
    anyio.run(main)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_everybody_wakes_when_due_and_in_order(naps: list[int]) -> None:
    woken: list[float] = []

    async def nap(milliseconds: int) -> None:
        await anyio.sleep(milliseconds / 1000)
        assert anyio.current_time() == pytest.approx(milliseconds / 1000, abs=1e-5)
        woken.append(milliseconds)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for milliseconds in naps:
                tasks.start_soon(nap, milliseconds)

    clock = ManualClock()
    in_virtual_time(main, clock=clock)
    assert all(earlier <= later for earlier, later in pairwise(woken))
    assert clock() == pytest.approx(max(naps) / 1000, abs=1e-5)


@pytest.mark.parametrize("start", [0.0, 1_800_000_000.0])
def test_years_pass_at_once(start: float) -> None:
    async def main(seconds: float) -> float:
        with anyio.move_on_after(seconds):
            await anyio.sleep_forever()
        return anyio.current_time()

    years = 3 * 365 * 86_400 + 0.1
    assert in_virtual_time(main, years, clock=ManualClock(start)) == pytest.approx(start + years)


def test_what_happens_in_between_can_be_looked_at() -> None:
    async def main() -> None:
        async with model.connect() as runtime, runtime.start(thinker) as running:
            await anyio.sleep(0.9)
            assert running.program.state is ProgramState.TOOL
            await anyio.sleep(0.2)
            assert running.program.tool_calls[0].outcome is ToolOutcome.TIMED_OUT
            assert await running == "Never mind."

    model = ScriptedModel([call("think", seconds=0), answer("Never mind.")])
    with scripted_tool(think, Takes(5)):
        in_virtual_time(main)


def test_budgets_of_seconds_are_of_virtual_seconds() -> None:
    with pytest.raises(BudgetExceeded) as it:
        run_agent(ScriptedModel([says("1").after(101)]), slow)
    assert it.value.limit == "seconds"


def test_who_waits_for_ever_is_told_so_and_named() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever, name="the sleeper")

    with pytest.raises(Deadlock, match=r"nobody will ever go on: .*the sleeper"):
        in_virtual_time(main)


def test_a_thread_gets_the_time_it_needs() -> None:
    model = ScriptedModel([call("think", seconds=0.3), answer("done")])
    [called] = run_agent(model, thinker).program.tool_calls
    assert (called.outcome, called.seconds) == (ToolOutcome.FINISHED, 0)


def test_a_thread_that_hangs_is_left_behind_when_its_time_is_really_up() -> None:
    model = ScriptedModel([call("think", seconds=30), answer("done").after(3600)])
    began = time.monotonic()
    [called] = run_agent(model, thinker).program.tool_calls
    assert (called.outcome, called.seconds) == (ToolOutcome.TIMED_OUT, 1)
    assert 1 <= time.monotonic() - began < 15


@pytest.mark.parametrize("how", ["worker thread", "executor", "child", "shell", "socket"])
def test_time_waits_for_what_really_works(how: str) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(0.3)"]

    async def work() -> None:
        match how:
            case "worker thread":
                await anyio.to_thread.run_sync(time.sleep, 0.3)
            case "executor":
                await asyncio.to_thread(time.sleep, 0.3)
            case "child":
                await anyio.run_process(sleep, stdout=subprocess.DEVNULL, stderr=None)
            case "shell":
                await anyio.run_process("sleep 0.3")
            case _:
                receiving, sending = os.pipe()
                threading.Timer(0.3, os.write, (sending, b"x")).start()
                await anyio.wait_readable(receiving)
                os.close(receiving)
                os.close(sending)

    async def main() -> float:
        with anyio.fail_after(60):
            await work()
        return anyio.current_time()

    assert in_virtual_time(main) == 0


def test_connect_takes_the_clock_too() -> None:
    clock = ManualClock(7)

    async def main() -> float | None:
        async with model.connect(clock=clock) as runtime:
            return (await runtime.run(thinker)).program.started

    model = ScriptedModel([answer("done")])
    assert in_virtual_time(main, clock=clock) == 7
