"""`agentrt resume` and `agentrt runs`: processes that are killed, and what is shown and removed."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agentrt.journal.runs import find_run, forget_old_runs, new_run
from agentrt.testing import answer, call, says
from tests.support.processes import Command, Done, finished, left_after, wait_until
from tests.support.scripted_engine import ScriptedEngine

AGENTS = '''
import os
import signal
from pathlib import Path

import anyio
from agentrt import Context, agent, tool

DIED = Path("died")


@tool
async def look(word: str) -> str:
    """Look."""
    if not DIED.exists():
        DIED.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"saw {word}"


@tool(effect="write")
async def write(word: str) -> str:
    """Write."""
    with Path("written").open("a") as file:
        file.write(word)
    return await look.function(word)


@tool(timeout=None)
async def hang() -> str:
    """Wait."""
    await anyio.sleep_forever()


@agent(tools=[look, write, hang])
async def worker(ctx: Context, prompt: str = "go") -> str:
    """You work."""
    return await ctx.loop(prompt)


@agent
async def echo(ctx: Context, text: str) -> str:
    """You are an echo."""
    return text
'''


@pytest.fixture
def folder(home: Path) -> Path:
    """Where commands run; holds agents.py."""
    (home / "agents.py").write_text(AGENTS)
    return home


def runs(folder: Path) -> list[Path]:
    return sorted((folder / "state/runs").iterdir())


def one_run(folder: Path) -> Path:
    [only] = runs(folder)
    return only


def echoed(folder: Path, *inputs: str) -> Done:
    given = [part for text in inputs for part in ("--input", text)]
    with ScriptedEngine() as engine:
        arguments = ("run", "agents.py:echo", "--url", engine.url, "-n", str(len(inputs)), *given)
        done = finished(*arguments, folder=folder)
    assert done.code == 0, done.err
    return done


# Resuming.


def test_a_killed_run_goes_on_without_asking_the_model_again(folder: Path) -> None:
    with ScriptedEngine([call("look", word="cat"), answer("A cat.")]) as engine:
        run = finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
        assert run.code == -signal.SIGKILL
        shown = finished("runs", "show", "last", folder=folder)
        assert "unfinished" in shown.out and "interrupted" in shown.out
        resumed = finished("resume", "last", folder=folder)
        assert len(engine.requests) == 2
    assert resumed.code == 0, resumed.err
    assert resumed.out.startswith("worker#1 finished: A cat.\n")
    assert resumed.out.splitlines()[3].split()[:3] == ["worker#1", "finished", "2"]
    assert left_after(5, folder) == {}


def test_a_killed_write_is_not_made_again(folder: Path) -> None:
    with ScriptedEngine([call("write", word="x"), answer("Hm.")]) as engine:
        finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
        resumed = finished("resume", one_run(folder).name[:8], folder=folder)
        told = engine.requests[1].body["messages"][-1]["content"]
    assert resumed.code == 0, resumed.err
    assert "Whether it took effect is not known" in told
    assert (folder / "written").read_text() == "x"


def test_an_interrupted_run_says_how_to_go_on(folder: Path) -> None:
    with ScriptedEngine([call("hang"), answer("A cat.")]) as engine:
        with Command("run", "agents.py:worker", "--url", engine.url, folder=folder) as command:
            wait_until(lambda: engine.requests)
            command.send(signal.SIGINT)
            stopped = command.done()
        assert stopped.code == 130
        assert f"to go on: agentrt resume {one_run(folder).name}\n" in stopped.err
        # The tool reads, so it is called again; what it is now does not matter to the model.
        agents = AGENTS.replace("await anyio.sleep_forever()", 'return "done"')
        (folder / "agents.py").write_text(agents)
        resumed = finished("resume", "last", folder=folder)
        assert engine.requests[1].body["messages"][-1]["content"] == "done"
    assert resumed.code == 0, resumed.err


def test_copies_that_finished_are_not_run_again(folder: Path) -> None:
    (folder / "died").touch()
    # The other copy is still waiting when the engine goes.
    end = says("", dies=True, delay_s=1.0)
    with ScriptedEngine([[answer("One.")], [call("look", word="b"), end]]) as engine:
        lost = finished("run", "agents.py:worker", "-n", "2", "--url", engine.url, folder=folder)
    assert lost.code == 1
    assert "to go on: agentrt resume" in lost.err
    with ScriptedEngine([answer("Two.")]) as engine:
        done = finished("resume", "last", "--url", engine.url, "--json", "r.json", folder=folder)
    assert done.code == 0, done.err
    programs = json.loads((folder / "r.json").read_text())["programs"]
    assert sorted(program["output"] for program in programs) == ["One.", "Two."]
    assert sorted(program["turns"] for program in programs) == [1, 2]


def test_resuming_a_finished_run_shows_it(folder: Path) -> None:
    echoed(folder, "a", "b")
    done = finished("resume", "last", "--json", "-", folder=folder)
    assert done.code == 0
    document = json.loads(done.out)
    assert (document["state"], [p["output"] for p in document["programs"]]) == (
        "finished",
        ["a", "b"],
    )
    assert "nothing to do" in done.err


def test_changed_parameters_are_refused(folder: Path) -> None:
    with ScriptedEngine([call("look", word="cat")]) as engine:
        finished("run", "agents.py:worker", "--url", engine.url, "--input", "hello", folder=folder)
    changed = AGENTS.replace('prompt: str = "go"', "prompt: int")
    (folder / "agents.py").write_text(changed)
    done = finished("resume", "last", folder=folder)
    assert done.code == 1
    assert "input of agent worker: prompt" in done.err
    assert "begin a new run" in done.err


def test_lost_events_are_reported_and_can_be_accepted(folder: Path) -> None:
    with ScriptedEngine([call("look", word="cat")]) as engine:
        finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
    run = one_run(folder)
    with sqlite3.connect(run / "journal.sqlite") as database:
        database.execute("DELETE FROM events WHERE number = (SELECT max(number) FROM events)")
    database.close()
    listed = finished("runs", "list", folder=folder)
    assert "damaged" in listed.out
    with ScriptedEngine([call("look", word="cat"), answer("A cat.")]) as engine:
        refused = finished("resume", run.name, "--url", engine.url, folder=folder)
        assert refused.code == 1
        assert "--accept-loss" in refused.err
        assert not engine.requests
        done = finished("resume", run.name, "--url", engine.url, "--accept-loss", folder=folder)
    assert done.code == 0, done.err


def test_a_run_without_a_journal_leaves_none(folder: Path) -> None:
    with ScriptedEngine() as engine:
        arguments = ("--url", engine.url, "--input", "a", "--no-journal")
        assert finished("run", "agents.py:echo", *arguments, folder=folder).code == 0
    assert not (folder / "state").exists()
    assert finished("runs", "list", folder=folder).out.startswith("no runs in ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("resume", "none"), "no run 'none' in"),
        (("runs", "show", "none"), "no run 'none' in"),
        (("runs", "prune", "none"), "no run 'none' in"),
        (("runs", "list", "-n", "0"), "--limit is 0"),
        (("runs", "prune", "--older-than", "-1"), "--older-than is -1"),
        (("resume", "2"), "several runs begin with '2'"),
    ],
)
def test_what_is_asked_for_wrongly_is_named(
    folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    echoed(folder, "a")
    shutil.copytree(one_run(folder), folder / "state/runs/20000101-000000-echo")
    done = finished(*arguments, folder=folder)
    assert done.code == 1
    assert told in done.err


# Looking and removing.


def test_runs_are_listed_shown_and_removed(folder: Path) -> None:
    echoed(folder, "hello", "world")
    with ScriptedEngine([call("look", word="cat")]) as engine:
        finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
    listed = finished("runs", "list", "--json", "l.json", folder=folder)
    assert [line.split()[1] for line in listed.out.splitlines()[1:]] == ["unfinished", "finished"]
    assert max(map(len, listed.out.splitlines())) <= 100
    document = json.loads((folder / "l.json").read_text())
    assert [len(run["programs"]) for run in document] == [1, 2]

    shown = finished("runs", "show", "last", "--events", folder=folder)
    assert "look" in shown.out and "worker began" in shown.out
    assert max(map(len, shown.out.splitlines()[1:])) <= 100  # the first names the file

    dry = finished("runs", "prune", "--dry-run", folder=folder)
    assert dry.out.count("would remove") == 1
    assert len(runs(folder)) == 2
    assert (
        finished("runs", "prune", "--older-than", "1", folder=folder).out == "nothing to remove\n"
    )
    finished("runs", "prune", folder=folder)
    assert one_run(folder).name.endswith("-worker")
    finished("runs", "prune", "--unfinished", folder=folder)
    assert runs(folder) == []


def test_a_run_that_begins_forgets_old_ones_that_have_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedEngine([call("look", word="cat")]) as engine:
        finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
    echoed(folder, "a")
    echo = next(run for run in runs(folder) if run.name.endswith("-echo"))
    for number in range(3):
        shutil.copytree(echo, folder / f"state/runs/2000010{number}-000000-echo")
    old = folder / "state/runs/20000101-000000-worker"
    one_that_did_not = next(run for run in runs(folder) if run.name.endswith("-worker"))
    one_that_did_not.rename(old)
    monkeypatch.setenv("AGENTRT_STATE_DIR", str(folder / "state"))
    monkeypatch.setattr("agentrt.journal.runs.KEPT_RUNS", 2)
    forget_old_runs()
    assert [run.name for run in runs(folder)][:2] == [old.name, "20000102-000000-echo"]
    assert len(runs(folder)) == 3


def test_the_last_run_is_the_one_that_began_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTRT_STATE_DIR", str(tmp_path))
    at = datetime(2026, 11, 28, 10, 15, 0, 250_000)
    for agent in ("writer", "reader"):
        (new_run(agent, at) / "journal.sqlite").touch()
        at += timedelta(milliseconds=5)
    assert find_run("last").name.endswith("-reader")


def test_a_run_that_runs_is_shown_so_and_stays(folder: Path) -> None:
    def beside(*arguments: str) -> Done:
        # In a folder of its own, whose processes end with it.
        state = str(folder / "state")
        return finished(*arguments, folder=folder / "beside", AGENTRT_STATE_DIR=state)

    with (
        ScriptedEngine([call("hang")]) as engine,
        Command("run", "agents.py:worker", "--url", engine.url, folder=folder),
    ):
        wait_until(lambda: engine.requests)
        name = one_run(folder).name
        assert "running" in beside("runs", "list").out
        assert f"the run {name} is running" in beside("runs", "prune", name).err
        assert "in use by another process" in beside("resume", name).err
        assert beside("runs", "prune", "--unfinished").out == "nothing to remove\n"
        assert one_run(folder).name == name
