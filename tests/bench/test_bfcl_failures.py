"""What goes wrong in an entry is its result, and the run goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from agentrt.errors import EngineLost
from agentrt.testing import ScriptedModel, answer, call, dies, refuses
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.bfcl import world
from agentrt_tools.bfcl.entries import Entry
from agentrt_tools.bfcl.program import CALL_LIMIT
from agentrt_tools.bfcl.run_entry import EntryOptions, run_entry
from agentrt_tools.bfcl.world import World, WorldLost
from tests.bench.conftest import run_reference
from tests.support.processes import wait_until

#: A back end with a call that goes wrong.
BROKEN = """
import os, sys, time, json
sys.path.insert(0, {folder!r})
import back_end
real = back_end.BackEnd.call
def call(self, source):
    if source.startswith("mkdir"):
        {trouble}
    return real(self, source)
back_end.BackEnd.call = call
channel, sys.stdout = sys.stdout, sys.stderr
back_end.serve(sys.stdin, channel)
"""


def broken(folder: Path, trouble: str) -> tuple[str, ...]:
    script = folder / "broken.py"
    script.write_text(BROKEN.format(folder=str(Path(world.__file__).parent), trouble=trouble))
    return sys.executable, "-P", str(script)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("time.sleep(300)", "the call of mkdir was cut off, and its process with it"),
        ("channel.write('garbage\\n'); channel.flush()", "its process said 'garbage'"),
        ("channel.write('[1]\\n'); channel.flush()", "its process said '[1]'"),
        ("os._exit(7)", "its process died with exit code 7"),
        ("os.kill(os.getpid(), 9)", "its process died with exit code -9"),
    ],
)
def test_a_back_end_that_fails(
    trouble: str, message: str, tmp_path: Path, base: list[Entry]
) -> None:
    """The first entry makes a folder, the second does not: only the first has failed."""
    assert "mkdir" in str(base[0].reference)
    assert "mkdir" not in str(base[1].reference)
    results = run_reference(base[:2], back_end=broken(tmp_path, trouble), tool_timeout=2.0)
    assert [(each.valid, each.problem, each.message) for each in results] == [
        (False, "tool:lost", message),
        (True, "", ""),
    ]


def test_a_function_that_raises_is_shown_to_the_model(base: list[Entry]) -> None:
    with ScriptedModel([call("cd", folder="nowhere"), call("cd"), *[answer("no")] * 4]) as model:
        result = with_model(base[0], model)
        first, second = (request.prompt for request in model.requests[1:3])
    assert "No such file or directory" in first
    assert "Error during execution: " in second
    assert "missing 1 required positional argument: 'folder'" in second
    assert result.problem == "multi_turn:instance_state_mismatch"


def test_back_ends_that_do_not_start(base: list[Entry]) -> None:
    [result] = run_reference(base[:1], back_end=(sys.executable, "-c", "raise SystemExit(3)"))
    assert (result.problem, result.turns) == ("tool:lost", 0)
    assert result.message == "its process died with exit code 3"


def test_nothing_is_left_of_a_back_end(base: list[Entry]) -> None:
    async def main() -> int:
        async with World(base[0]) as opened:
            pid = opened._process.pid
            with anyio.move_on_after(0):
                await opened.call("ls()")
            with pytest.raises(WorldLost, match="the call of ls was cut off"):
                await opened.call("ls()")
        return pid

    pid = anyio.run(main)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5)


def with_model(entry: Entry, model: ScriptedModel, call_limit: int = CALL_LIMIT) -> EntryResult:
    async def main() -> EntryResult:
        async with model.connect() as runtime:
            return await run_entry(runtime, entry, "guard", EntryOptions(call_limit=call_limit))

    return anyio.run(main)


def test_more_calls_than_a_turn_may_make(base: list[Entry]) -> None:
    with ScriptedModel([*[call("pwd")] * 4, answer("at last")]) as model:
        result = with_model(base[0], model, call_limit=3)
    assert (result.valid, result.problem) == (False, "multi_turn:force_terminated")
    assert result.message == "more than 3 calls in turn 1 of the user"
    assert len(result.calls[0]) == 4


def test_forty_calls_are_not_too_many(base: list[Entry]) -> None:
    with ScriptedModel([*[call("pwd")] * 40, *[answer("done")] * 4]) as model:
        result = with_model(base[0], model)
    assert result.problem == "multi_turn:instance_state_mismatch"


def test_a_prompt_that_does_not_fit(base: list[Entry]) -> None:
    words = "The input (9000 tokens) is longer than the model's context length (8192 tokens)."
    with ScriptedModel([call("ls"), refuses(400, words)]) as model:
        result = with_model(base[0], model)
    assert (result.valid, result.problem) == (False, "model:context_overflow")
    assert words in result.message
    assert result.calls == (("ls()",),)


def test_a_request_that_is_refused(base: list[Entry]) -> None:
    with ScriptedModel([refuses(500, "out of order")]) as model:
        result = with_model(base[0], model)
    assert (result.problem, result.policy) == ("model:refused", "guard")


def test_an_engine_that_is_gone_ends_the_run(base: list[Entry]) -> None:
    with ScriptedModel([dies()]) as model, pytest.raises(EngineLost):
        with_model(base[0], model)


def test_first_tokens_are_timed(base: list[Entry]) -> None:
    with ScriptedModel([answer("no").after(0.2)] * 4) as model:
        result = with_model(base[0], model)
    assert result.ttft_s is not None
    assert 0.2 <= result.ttft_s < 1.0
    assert result.problem == "multi_turn:empty_turn_model_response"
