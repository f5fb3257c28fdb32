"""Ctrl-C and SIGTERM in the middle of a run: results stay, processes do not."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import anyio
import pytest

from agentrt.cli.interruption import cancelled_by_signals
from agentrt.errors import PortInUse
from agentrt.testing import answer, call
from tests.support.processes import Command, finished, left_after, living, wait_until
from tests.support.scripted_engine import ScriptedEngine

AGENTS = '''
import time

import anyio
from agentrt import Context, agent, tool
from agentrt_tools import bash


@tool
def forever() -> str:
    """Wait."""
    time.sleep(300)


@agent(tools=[bash, forever])
async def worker(ctx: Context) -> str:
    """You work."""
    return await ctx.loop("go")


@agent
async def stubborn(ctx: Context) -> str:
    """You do not want to go."""
    try:
        print("working", flush=True)
        await anyio.sleep(300)
    finally:
        print("cleaning up", flush=True)
        time.sleep(300)


@agent
async def rude(ctx: Context) -> str:
    """You keep the event loop for yourself."""
    print("working", flush=True)
    time.sleep(300)


@agent
async def talker(ctx: Context, tokens: int) -> str:
    """You talk."""
    return await ctx.loop("Tell me a very long story.", max_tokens=tokens)
'''

#: A folder without bubblewrap to look for programs in.
NO_PROGRAMS = "/nonexistent"


@pytest.fixture
def folder(home: Path) -> Path:
    """Where commands run; holds agents.py."""
    (home / "agents.py").write_text(AGENTS)
    return home


def states(folder: Path) -> list[str]:
    programs = json.loads((folder / "r.json").read_text())["programs"]
    return sorted(program["state"] for program in programs)


def recorded_turns(folder: Path) -> list[int]:
    lines = (folder / "t.jsonl").read_bytes().splitlines()[1:]
    return sorted(len(json.loads(line)["turns"]) for line in lines)


@pytest.mark.parametrize(
    ("number", "code", "path"),
    [
        (signal.SIGINT, 130, os.environ["PATH"]),
        (signal.SIGTERM, 143, os.environ["PATH"]),
        (signal.SIGINT, 130, NO_PROGRAMS),
    ],
    ids=["SIGINT", "SIGTERM", "SIGINT, tools without a sandbox"],
)
def test_an_interrupted_run_keeps_what_finished_and_leaves_no_process(
    folder: Path, number: signal.Signals, code: int, path: str
) -> None:
    endless = call("bash", command="sleep 301 & sleep 302")
    with ScriptedEngine([[answer("first")], [endless], [call("forever")]]) as engine:
        arguments = ("--url", engine.url, "-n", "3", "--trace", "t.jsonl", "--json", "r.json")
        with Command("run", "agents.py:worker", *arguments, folder=folder, PATH=path) as command:
            command.until("finished after")
            wait_until(lambda: sum("sleep 30" in name for name in living(folder).values()) >= 2)
            command.send(number)
            done = command.done(15)
            assert left_after(1, folder) == {}
    assert done.code == code
    assert "finished: first" in done.out
    assert " 1 finished" in done.out
    assert done.err.endswith("error: interrupted\n")
    assert "Traceback" not in done.err
    assert states(folder) == ["cancelled", "cancelled", "finished"]
    assert recorded_turns(folder) == [1, 1, 1]
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize(("agent", "says"), [("stubborn", "cleaning up"), ("rude", "working")])
def test_a_second_ctrl_c_ends_the_command_at_once(folder: Path, agent: str, says: str) -> None:
    with ScriptedEngine() as engine:
        arguments = ("run", f"agents.py:{agent}", "--url", engine.url)
        with Command(*arguments, folder=folder) as command:
            command.until("working")
            command.send(signal.SIGINT)
            command.until(says)
            time.sleep(0.3)
            command.send(signal.SIGINT)
            assert command.done(5).code == -signal.SIGINT
            assert living(folder) == {}


def test_an_engine_of_the_run_goes_with_it(folder: Path, model_folder: Path) -> None:
    inputs = [part for tokens in ("4", "1500") for part in ("--input", tokens)]
    arguments = ("--model", model_folder, "-n", "2", "--trace", "t.jsonl", "--json", "r.json")
    with Command("run", "agents.py:talker", *inputs, *arguments, folder=folder) as command:
        command.until("talker#1 finished after ")
        command.send(signal.SIGINT)
        done = command.done(15)
        assert living(folder) == {}
    assert done.code == 130
    assert states(folder) == ["cancelled", "finished"]
    assert recorded_turns(folder) == [1]  # the other one got no answer
    # Its end is ours, nothing that needs an explanation.
    assert "the engine ended" not in done.err


def test_ctrl_c_while_the_engine_of_the_run_starts(folder: Path, model_folder: Path) -> None:
    arguments = ("--input", "4", "--model", model_folder)
    with Command("run", "agents.py:talker", *arguments, folder=folder) as command:
        command.until("importing SGLang")
        command.send(signal.SIGINT)
        done = command.done(15)
        assert living(folder) == {}
    assert (done.code, done.out) == (130, "")
    assert done.err.endswith("error: interrupted\n")
    assert not (folder / "traces").exists()


def test_an_error_leaves_the_block_as_it_is() -> None:
    async def main() -> None:
        async with cancelled_by_signals():
            raise PortInUse("mine")

    with pytest.raises(PortInUse, match="mine"):
        anyio.run(main)


def test_handlers_are_put_back(folder: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def main() -> int:
        async with cancelled_by_signals() as interruption:
            assert signal.getsignal(signal.SIGTERM) not in before
        return interruption.exit_code

    assert anyio.run(main) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_without_a_signal_is_not_interrupted(folder: Path) -> None:
    with ScriptedEngine([answer("done")]) as engine:
        done = finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
    assert done.code == 0
    assert "interrupted" not in done.err
