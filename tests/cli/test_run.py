"""`agentrt run`: results, records and messages, with engines and tools that fail."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agentrt.cli.run_view import LiveView, one_line, summary_table
from agentrt.program import Program, ProgramState, Turn
from agentrt.testing import answer, call, dies, says
from tests.support.processes import AGENTRT, Command, environment, finished, living
from tests.support.scripted_engine import INFO, ScriptedEngine

AGENTS = '''
import time
from pathlib import Path

import anyio
from agentrt import Context, agent, tool
from agentrt_tools import bash


@tool(timeout=0.3)
async def hang() -> str:
    """Wait."""
    await anyio.sleep(300)


@tool(timeout=0.3)
def hang_in_thread() -> str:
    """Wait."""
    time.sleep(300)


@tool
def flood() -> str:
    """Say much."""
    return "x" * 100_000_000


@agent(tools=[bash, hang, hang_in_thread, flood])
async def worker(ctx: Context, prompt: str = "go") -> str:
    """You work."""
    return await ctx.loop(prompt)


@agent
async def echo(ctx: Context, text: str, times: int = 1) -> str:
    """You are an echo."""
    if text == "fail":
        raise KeyError("my own mistake")
    return text * times


@agent(tools=[bash])
async def thrifty(ctx: Context) -> int:
    """You tell how much memory was needed at most, in kB."""
    await ctx.loop("go")
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


@agent
async def talker(ctx: Context, tokens: int) -> str:
    """You talk."""
    return await ctx.loop("Tell me a very long story.", max_tokens=tokens)
'''


@pytest.fixture
def folder(home: Path) -> Path:
    """Where commands run; holds agents.py."""
    (home / "agents.py").write_text(AGENTS)
    return home


def read_trace(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    header, *programs = map(json.loads, path.read_bytes().splitlines())
    assert header["format"] == "agentrt.trace.v1"
    return header, programs


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


# What a run leaves.


def test_a_run_prints_its_result_a_table_and_where_the_trace_is(folder: Path) -> None:
    with ScriptedEngine([call("bash", command="echo hello"), answer("It said hello.")]) as engine:
        done = finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
        assert "hello" in engine.requests[1].body["messages"][-1]["content"]
    assert done.code == 0, done.err
    assert done.out.startswith("worker#1 finished: It said hello.\n")
    heading, row = done.out.splitlines()[2:4]
    assert heading.split("  ")[0] == "program"
    assert row.split()[:3] == ["worker#1", "finished", "2"]
    trace = folder / re.search(r"trace: (\S+)", done.out)[1]  # type: ignore[index]
    assert trace.parent == folder / "traces/runs"
    header, [program] = read_trace(trace)
    assert header["model"] == "scripted"
    used = [[tool["name"] for tool in turn.get("tools", [])] for turn in program["turns"]]
    assert used == [["bash"], []]


def test_json_on_stdout_stands_alone(folder: Path) -> None:
    with ScriptedEngine([answer("yes")], info=INFO) as engine:
        arguments = ("--url", engine.url, "--json", "-", "--trace", "t.jsonl")
        done = finished("run", "agents.py:worker", *arguments, folder=folder)
    document = json.loads(done.out)
    assert (document["agent"], document["trace"]) == ("worker", "t.jsonl")
    [program] = document["programs"]
    assert (program["state"], program["output"], program["turns"]) == ("finished", "yes", 1)
    assert read_trace(folder / "t.jsonl")[1][0]["program_id"] == program["program_id"]
    assert "worker#1 finished after 1 turn\n" in done.err
    assert "trace: t.jsonl" in done.err


def test_copies_take_the_inputs_in_turn(folder: Path) -> None:
    inputs = ("--input", "a", "--input", '{"text": "b", "times": 2}')
    with ScriptedEngine() as engine:
        arguments = ("--url", engine.url, "-n", "5", *inputs, "--json", "r.json")
        done = finished("run", "agents.py:echo", *arguments, folder=folder)
    assert done.code == 0
    programs = json.loads((folder / "r.json").read_text())["programs"]
    assert [program["output"] for program in programs] == ["a", "bb", "a", "bb", "a"]
    assert [program["label"] for program in programs] == [f"echo#{n}" for n in range(1, 6)]
    assert " 5 finished" in done.out


def test_without_a_terminal_there_are_no_escape_codes_and_each_end_is_one_line(
    folder: Path,
) -> None:
    with ScriptedEngine() as engine:
        arguments = ("--url", engine.url, "-n", "2", "--input", "word " * 100)
        done = finished("run", "agents.py:echo", *arguments, folder=folder, COLUMNS="200")
    assert "\x1b" not in done.out + done.err
    assert sorted(done.err.splitlines()) == [
        "echo#1 finished after 0 turns",
        "echo#2 finished after 0 turns",
    ]
    assert widest(done.out) <= 100


def test_quiet_leaves_the_results(folder: Path) -> None:
    with ScriptedEngine() as engine:
        arguments = ("-q", "run", "agents.py:echo", "--url", engine.url, "--input", "x")
        done = finished(*arguments, folder=folder)
    assert done.err == ""
    assert done.out.startswith("echo#1 finished: x\n")


def test_on_a_terminal_a_live_view_gives_way_to_the_table(folder: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    printed = b""
    with ScriptedEngine([answer("yes")] * 2) as engine:
        arguments = ["run", "agents.py:worker", "-n", "2", "--url", engine.url]
        with subprocess.Popen(
            [AGENTRT, *arguments],
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment(folder) | {"TERM": "xterm-256color"},
        ) as command:
            os.close(theirs)
            try:
                while chunk := os.read(ours, 65_536):
                    printed += chunk
            except OSError:  # how a terminal says that the other side is closed
                os.close(ours)
    assert command.returncode == 0
    assert b"of 2 programs ended" in printed
    # The command may have ended with the cursor hidden or colours on: nobody would mend that.
    assert printed.rfind(b"\x1b[?25h") > printed.rfind(b"\x1b[?25l")
    assert b"2 finished" in printed[printed.rfind(b"of 2 programs ended") :]


# What cannot be run.

BROKEN = {
    "syntax.py": ("x = 1\ndef (:\n", "syntax.py, line 2: importing it failed: SyntaxError: inv"),
    "fails.py": ("\n\nimport no_such_module", "fails.py, line 3: importing it failed: ModuleNot"),
    "other.py": ("import syntax\n", "other.py, line 1: importing it failed: SyntaxError"),
    "none.py": ("x = 1", "none.py defines no agent"),
    "agents.txt": ("", "agents.txt is not a Python file"),
}


@pytest.mark.parametrize("file", BROKEN)
def test_a_file_without_a_usable_agent(folder: Path, file: str) -> None:
    for name, (code, _) in BROKEN.items():
        (folder / name).write_text(code)
    done = finished("run", file, folder=folder)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {BROKEN[file][1]}")
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no.py"], "no file no.py"),
        (["."], "no file ."),
        (["agents.py"], "agents.py defines several agents: worker, echo, thrifty, talker"),
        (["agents.py:nope"], "agents.py has no agent 'nope'; its agents: worker, echo, thr"),
        (["agents.py:bash"], "agents.py has no agent 'bash'"),
        (["agents.py:echo"], "input of agent echo: text: "),
        (["agents.py:talker", "--input", "many"], "input of agent talker: tokens: "),
        (["agents.py:thrifty", "--input", "x"], "agent thrifty takes no input, but got 'x'"),
        (["agents.py:worker", "-n", "0"], "--copies is 0: expected at least 1"),
        (["agents.py:worker", "--model", "/no/such"], "no model '/no/such'"),
        (["agents.py:worker", "--url", "http://127.0.0.1:1"], "no engine answers at http://127"),
        (["agents.py:worker", "--url", "nonsense"], "'nonsense' is not the URL of an engine"),
        (["agents.py:worker", "--url", "http://x", "--policy", "lru"], "--url http://x names an"),
    ],
)
def test_what_cannot_be_run_is_refused(folder: Path, arguments: list[str], says: str) -> None:
    done = finished("run", *arguments, folder=folder)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {says}")
    assert "Traceback" not in done.err
    assert not (folder / "traces").exists()


def test_an_engine_named_by_a_variable_is_not_silently_passed_over(folder: Path) -> None:
    arguments = ("run", "agents.py:worker", "--policy", "lru")
    done = finished(*arguments, folder=folder, AGENTRT_URL="http://127.0.0.1:1")
    assert done.code == 1
    assert "error: --url http://127.0.0.1:1 names an engine that runs already" in done.err


def test_an_unknown_policy_is_refused_before_anything_starts(
    folder: Path, model_folder: Path
) -> None:
    arguments = ("--model", model_folder, "--policy", "fair")
    done = finished("run", "agents.py:worker", *arguments, folder=folder)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: unknown policy 'fair': expected one of guard, guard-srpt")
    assert not (folder / "cache/logs").exists()


def test_a_trace_that_cannot_be_written_is_named(folder: Path) -> None:
    with ScriptedEngine() as engine:
        arguments = ("--url", engine.url, "--trace", "agents.py/t.jsonl")
        done = finished("run", "agents.py:worker", *arguments, folder=folder)
    assert done.code == 1
    assert "error: cannot write the trace agents.py/t.jsonl" in done.err


# Programs, tools and engines that fail.


def test_an_agent_that_raises_does_not_stop_the_others(folder: Path) -> None:
    with ScriptedEngine() as engine:
        arguments = ("--url", engine.url, "-n", "2", "--input", "fail", "--input", "fine")
        done = finished("run", "agents.py:echo", *arguments, folder=folder)
    assert done.code == 1
    assert "echo#1 failed: KeyError: 'my own mistake'" in done.out
    assert "echo#2 finished: fine" in done.out
    assert " 1 finished" in done.out
    assert "Traceback" in done.err
    assert 'raise KeyError("my own mistake")' in done.err


@pytest.mark.parametrize("tool", ["hang", "hang_in_thread"])
def test_a_tool_that_hangs_is_stopped_and_the_run_goes_on(folder: Path, tool: str) -> None:
    with ScriptedEngine([call(tool), answer("went on")]) as engine:
        done = finished(
            "run", "agents.py:worker", "--url", engine.url, "--json", "-", folder=folder
        )
        shown = engine.requests[1].body["messages"][-1]
    assert (shown["role"], shown["content"]) == (
        "tool",
        f"{tool} was stopped: it did not finish within 0.3 s",
    )
    assert done.code == 0, done.err
    [program] = json.loads(done.out)["programs"]
    assert program["output"] == "went on"
    [used] = program["tools"]
    assert (used["name"], used["outcome"]) == (tool, "timed_out")
    assert 0.3 <= used["seconds"] < 5
    assert living(folder) == {}


@pytest.mark.parametrize(
    "step",
    [call("bash", command="head -c 100000000 /dev/zero | tr '\\0' x"), call("flood")],
    ids=["bash", "a Python tool"],
)
def test_a_tool_that_prints_100_mb_is_cut(folder: Path, step: Any) -> None:
    with ScriptedEngine([step, answer("went on")]) as engine:
        done = finished("run", "agents.py:worker", "--url", engine.url, folder=folder)
        content = engine.requests[1].body["messages"][-1]["content"]
    assert done.code == 0, done.err
    assert content.startswith("xxx")
    assert len(content) < 4_100
    assert re.search(r"\[(stopped|cut): ", content)
    assert living(folder) == {}


def test_what_a_command_prints_never_fills_the_memory(folder: Path) -> None:
    flood = call("bash", command="head -c 100000000 /dev/zero | tr '\\0' x")
    with ScriptedEngine([flood, answer("done")]) as engine:
        arguments = ("--url", engine.url, "--json", "-")
        done = finished("run", "agents.py:thrifty", *arguments, folder=folder)
    assert json.loads(done.out)["programs"][0]["output"] < 160_000


def test_a_refused_request_fails_its_program_alone(folder: Path) -> None:
    with ScriptedEngine([[says("too long", status=400)], [answer("fine")]]) as engine:
        arguments = ("--url", engine.url, "-n", "2")
        done = finished("run", "agents.py:worker", *arguments, folder=folder)
    assert done.code == 1
    assert " 1 finished" in done.out
    assert done.err.count("answered HTTP 400: 'too long'") == 1
    assert "Traceback" not in done.err


def test_an_engine_that_goes_away_leaves_the_results_of_finished_programs(folder: Path) -> None:
    steps = [[answer("first")], [call("bash", command="sleep 0.5"), dies()]]
    with ScriptedEngine(steps) as engine:
        arguments = ("--url", engine.url, "-n", "2", "--trace", "t.jsonl", "--json", "r.json")
        done = finished("run", "agents.py:worker", *arguments, folder=folder)
    assert done.code == 1
    assert "finished: first" in done.out
    assert "failed: EngineLost" in done.out
    assert " 1 finished" in done.out
    assert done.err.count("error: the engine at ") == 1
    assert "Traceback" not in done.err
    states = {p["state"] for p in json.loads((folder / "r.json").read_text())["programs"]}
    assert states == {"finished", "failed"}
    assert sorted(len(program["turns"]) for program in read_trace(folder / "t.jsonl")[1]) == [1, 1]
    assert living(folder) == {}


def test_an_engine_of_the_run_that_is_killed(folder: Path, model_folder: Path) -> None:
    inputs = [part for tokens in ("4", "1500", "1500") for part in ("--input", tokens)]
    arguments = ("--model", model_folder, "-n", "3", "--trace", "t.jsonl", "--json", "r.json")
    with Command("run", "agents.py:talker", *inputs, *arguments, folder=folder) as command:
        command.until("talker#1 finished after ")
        [engine] = [pid for pid, name in living(folder).items() if "agentrt_engine" in name]
        os.kill(engine, signal.SIGKILL)
        done = command.done(30)
        assert living(folder) == {}
    assert done.code == 1
    states = [p["state"] for p in json.loads((folder / "r.json").read_text())["programs"]]
    assert states == ["finished", "failed", "failed"]
    assert " 1 finished" in done.out
    assert "talker#1 finished: " in done.out
    assert len(read_trace(folder / "t.jsonl")[1]) == 1  # the others got no answer
    assert done.err.count("went away during a request") == 1
    assert "error: the engine ended (signal 9):\n" in done.err
    assert "hint: its whole log: " in done.err
    assert "Traceback" not in done.err


# What is shown.


def program(copy: int, state: ProgramState, agent: str = "worker", tokens: int = 1_000) -> Program:
    turn = Turn(
        started=0.0,
        ended=123.4,
        input_tokens=tokens,
        output_tokens=tokens // 2,
        cached_tokens=tokens // 2,
        queue_s=0.5,
        extends_previous=False,
        finish_reason="stop",
    )
    return Program(
        program_id=f"{copy:032}",
        agent=agent,
        copy=copy,
        state=state,
        started=0.0,
        ended=124.0 if state.ended else None,
        turn=1,
        turns=[turn],
        output="an output\nof two lines",
    )


def render(what: object, *, width: int = 100, height: int = 25) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    lines = console.render_lines(what, console.options, pad=False)  # type: ignore[arg-type]
    return ["".join(segment.text for segment in line) for line in lines]


def test_the_table_of_long_names_and_large_numbers_has_at_most_100_columns() -> None:
    long = "an_agent_whose_name_says_all_that_it_does_for_its_users"
    programs = [program(n, ProgramState.FINISHED, long, 1_234_567) for n in range(1, 13)]
    lines = render(summary_table(programs), width=300)
    assert widest("\n".join(lines)) <= 100
    assert lines[12].split()[0].endswith("#12")
    assert "1,234,567" in lines[12]
    assert "14,814,804" in lines[13]


def test_a_program_alone_needs_no_line_of_totals() -> None:
    assert len(render(summary_table([program(1, ProgramState.FINISHED)]))) == 2


def test_numbers_that_the_engine_does_not_tell_are_marked() -> None:
    silent = program(1, ProgramState.FINISHED)
    silent.turns[0].cached_tokens = silent.turns[0].queue_s = None
    assert render(summary_table([silent]))[1].split().count("–") == 2


def test_an_end_is_one_line() -> None:
    assert str(one_line(program(3, ProgramState.FINISHED))) == (
        "worker#3 finished: an output of two lines"
    )


@pytest.mark.parametrize("height", [4, 5, 10, 25])
def test_the_live_view_fits_the_screen(height: int) -> None:
    programs = [program(n, ProgramState.MODEL) for n in range(1, 41)]
    lines = render(LiveView(programs, 50, lambda: 5.0), height=height)
    assert len(lines) <= height
    assert lines[-1] == "0 of 50 programs ended"
    assert "worker#1 " in lines[1]


def test_on_a_small_screen_what_runs_is_shown_first() -> None:
    programs = [program(n, ProgramState.FINISHED) for n in range(1, 20)]
    programs.append(program(20, ProgramState.TOOL))
    programs[-1].current_tool = "grep"
    lines = render(LiveView(programs, 20, lambda: 5.0), height=6)
    [busy] = [line for line in lines if "grep" in line]
    assert busy.split() == ["worker#20", "tool", "grep", "1", "1,000", "500", "500", "5.0"]
    assert lines[-1] == "19 of 20 programs ended"


def test_before_the_first_program_the_live_view_says_how_many_come() -> None:
    assert render(LiveView([], 6, lambda: 0.0))[-1] == "0 of 6 programs ended"
