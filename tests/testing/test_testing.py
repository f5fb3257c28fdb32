"""Scripted replies and tools, virtual time, no network; and that tests fail when they must."""

from __future__ import annotations

import math
import time
from typing import Any

import anyio
import httpx2
import pytest
from pydantic import BaseModel

from agentrt import Context, ProgramState, ToolOutcome, agent, tool
from agentrt.errors import EngineLost, ModelRequestFailed
from agentrt.testing import (
    Deadlock,
    ModelRequest,
    NetworkBlocked,
    ScriptedModel,
    Step,
    Takes,
    answer,
    call,
    dies,
    in_virtual_time,
    refuses,
    run_agent,
    says,
    scripted_tool,
)
from agentrt_engine.wire.hints import HintKind


class Report(BaseModel):
    """What was found."""

    lines: int


@tool(timeout=30)
async def count_lines(ctx: Context, path: str) -> int:
    """Count lines."""
    return len((ctx.workspace / path).read_text().splitlines())


@tool(timeout=None, heartbeat_timeout=10)
async def train() -> str:
    """Train."""
    raise NotImplementedError


@tool(timeout=None)
async def endless() -> None:
    """Go on and on."""


@tool
async def fetch(url: str) -> str:
    """Fetch."""
    async with httpx2.AsyncClient() as client:
        return (await client.get(url)).text


@agent(tools=[count_lines, train, endless, fetch])
async def counter(ctx: Context, question: str) -> str:
    """You count."""
    (ctx.workspace / "notes").write_text("a\nb\n")
    return await ctx.loop(question)


@agent
async def reporter(ctx: Context[Report], question: str) -> Report:
    """You report."""
    return await ctx.loop(question)


@agent
async def boss(ctx: Context) -> list[str]:
    """You lead."""
    return await ctx.gather(*(ctx.spawn(counter, name) for name in "ab"))


def test_an_agent_runs_on_a_script() -> None:
    model = ScriptedModel([call("count_lines", path="notes"), answer("2")])
    result = run_agent(model, counter, "How long is notes?")
    assert result.output == "2"
    assert result.program.state is ProgramState.FINISHED
    asked, told = model.requests
    assert "How long is notes?" in asked.prompt
    assert told.prompt == "2" and told.messages[-1]["role"] == "tool"
    assert {request.program_id for request in model.requests} == {result.program.program_id}
    kinds = [hint.kind for hint in model.hints]
    assert kinds == [HintKind.TOOL_STARTED, HintKind.TOOL_FINISHED, HintKind.ENDED]


def test_answers_of_a_type() -> None:
    result = run_agent(ScriptedModel([answer(Report(lines=3))]), reporter, "How long?")
    assert result.output == Report(lines=3)


def test_scripts_of_programs_and_a_function_that_replies() -> None:
    result = run_agent(ScriptedModel([[answer("1")], [answer("2")]]), boss)
    assert sorted(result.output) == ["1", "2"]

    def reply(request: ModelRequest) -> Step:
        return answer(request.prompt.upper())

    assert run_agent(ScriptedModel(reply), boss).output == ["A", "B"]


def test_steps_that_are_left_over_fail() -> None:
    with pytest.raises(AssertionError, match=r"1 steps were not used: .*never"):
        run_agent(ScriptedModel([answer("1"), says("never")]), counter, "How long?")


def test_a_request_without_a_step_fails() -> None:
    model = ScriptedModel([call("count_lines", path="notes")])
    said = r"no step for request 2, whose last message is tool: '2'"
    with pytest.raises(AssertionError, match=said):
        run_agent(model, counter, "How long?")
    with pytest.raises(AssertionError, match=said):  # an agent may have caught the first one
        model.check()


def test_engines_that_refuse_or_go_away() -> None:
    with pytest.raises(ModelRequestFailed, match="too long"):
        run_agent(ScriptedModel([refuses(400, "too long")]), counter, "?")
    with pytest.raises(EngineLost):
        run_agent(ScriptedModel([dies()]), counter, "?")


def test_an_engine_that_went_away_stays_away() -> None:
    async def main() -> None:
        model = ScriptedModel([dies(), answer("back")])
        async with model.connect() as runtime:
            for _ in range(2):
                with pytest.raises(EngineLost):
                    await runtime.run(counter, "?")

    in_virtual_time(main)


def test_time_passes_at_once() -> None:
    began = time.monotonic()
    result = run_agent(ScriptedModel([answer("2").after(3600)]), counter, "?")
    assert time.monotonic() - began < 10
    [turn] = result.program.turns
    assert (turn.started, turn.ended) == (0, 3600)


def test_a_scripted_tool_takes_as_long_as_it_should() -> None:
    model = ScriptedModel([call("count_lines", path="notes"), answer("7")])
    with scripted_tool(count_lines, Takes(25, returns=7)) as script:
        result = run_agent(model, counter, "How long?")
    assert script.calls == [{"path": "notes"}]
    [made] = result.program.tool_calls
    assert made.seconds == pytest.approx(25)
    assert made.outcome is ToolOutcome.FINISHED
    assert count_lines.function.__name__ == "count_lines"


@pytest.mark.parametrize(
    ("takes", "outcome", "shown"),
    [
        (Takes(math.inf), ToolOutcome.TIMED_OUT, "did not finish within 30 s"),
        (Takes(31), ToolOutcome.TIMED_OUT, "did not finish within 30 s"),
        (Takes(1, raises=OSError("gone")), ToolOutcome.FAILED, "OSError: gone"),
    ],
    ids=["never ends", "too slow", "raises"],
)
def test_limits_hold_for_scripted_tools(takes: Takes, outcome: ToolOutcome, shown: str) -> None:
    model = ScriptedModel([call("count_lines", path="notes"), answer("?")])
    with scripted_tool(count_lines, takes):
        result = run_agent(model, counter, "How long?")
    assert result.program.tool_calls[0].outcome is outcome
    assert shown in model.requests[1].prompt


def test_arguments_are_held_against_the_real_schema() -> None:
    model = ScriptedModel([call("count_lines", file="notes"), answer("?")])
    with scripted_tool(count_lines) as script:
        result = run_agent(model, counter, "How long?")
    assert result.program.tool_calls[0].outcome is ToolOutcome.REJECTED
    assert not script.calls


def test_a_tool_that_is_called_too_often_or_not_at_all_fails() -> None:
    with (
        pytest.raises(AssertionError, match="called 1 times, 1 times more often"),
        scripted_tool(count_lines),
    ):
        run_agent(ScriptedModel([call("count_lines", path="x"), answer("?")]), counter, "How long?")
    with (
        pytest.raises(AssertionError, match="count_lines was not called for"),
        scripted_tool(count_lines, Takes(1)),
    ):
        run_agent(ScriptedModel([answer("?")]), counter, "How long?")


def test_a_tool_with_a_heartbeat_gives_signs_of_life_unless_it_never_ends() -> None:
    model = ScriptedModel([call("train"), call("train"), answer("done")])
    with scripted_tool(train, Takes(3600, returns="trained"), Takes(math.inf)):
        first, second = run_agent(model, counter, "Train.").program.tool_calls
    assert (first.outcome, first.seconds) == (ToolOutcome.FINISHED, 3600)
    assert (second.outcome, second.seconds) == (ToolOutcome.TIMED_OUT, 10)


def test_a_tool_that_never_ends_and_has_no_limit_is_a_deadlock() -> None:
    with (
        scripted_tool(endless, Takes(math.inf)),
        pytest.raises(Deadlock, match=r"nobody will ever go on: \S"),
    ):
        run_agent(ScriptedModel([call("endless")]), counter, "Go.")


def test_a_tool_that_opens_a_connection_fails_the_test() -> None:
    model = ScriptedModel([call("fetch", url="http://127.0.0.1:9/"), answer("?")])
    with pytest.raises(BaseException) as caught:
        run_agent(model, counter, "Fetch it.")
    assert (
        caught.group_contains(NetworkBlocked)
        if isinstance(caught.value, BaseExceptionGroup)
        else isinstance(caught.value, NetworkBlocked)
    )


def test_a_model_in_a_test_that_is_async() -> None:
    async def main() -> Any:
        with ScriptedModel([answer("1")]) as model:
            async with model.connect() as runtime:
                return (await runtime.run(counter, "?")).output

    assert anyio.run(main) == "1"
