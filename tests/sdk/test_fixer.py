"""The example `fixer`: subagents, forks, answers of a type and budgets together."""

from __future__ import annotations

import anyio

from agentrt import ProgramResult, ProgramState, connect
from agentrt.testing import answer, call
from agentrt_engine.sglang.server import EngineProcess
from examples.fixer import Verdict, fixer, reviewer
from tests.sdk.test_loop import run
from tests.sdk.test_structured_output import value
from tests.support.scripted_engine import ScriptedEngine

REPAIR = "sed -i 's/prices\\[1:\\]/prices/' cart.py && cat cart.py"

YES = value({"approved": True, "reason": "It adds everything."})
NO = value({"approved": False, "reason": "It has no test."})


def test_a_repair_is_made_judged_and_made_again() -> None:
    scripts = [
        [call("bash", command=REPAIR), answer("Repaired."), answer("Tested.")],
        *([YES], [NO]),
        *([YES], [YES]),
    ]
    with ScriptedEngine(scripts) as engine:
        result = run(engine, fixer)
    assert [verdict.approved for verdict in result.output] == [True, True]
    [done] = result.program.tool_calls
    assert done.name == "bash"
    prompts = [request.body["messages"] for request in engine.requests]
    repaired = next(m["content"] for m in prompts[1] if m["role"] == "tool")
    assert repaired.endswith("return sum(prices)")
    # Reviewers know what the fixer did, and the fixer is told what they miss.
    assert all(prompt[: len(prompts[1])] == prompts[1] for prompt in prompts[2:4])
    again = prompts[4][-1]["content"]
    assert again.startswith("Try again: ")
    assert "It adds everything." in again and "It has no test." in again
    assert len(result.program.children) == 4


def test_it_ends_after_two_attempts_with_what_the_reviewers_say() -> None:
    scripts = [[answer("Nothing."), answer("Nothing.")], [NO], [NO], [NO], [NO]]
    with ScriptedEngine(scripts) as engine:
        result = run(engine, fixer)
    assert [verdict.approved for verdict in result.output] == [False, False]


def test_on_a_real_engine(engine: EngineProcess) -> None:
    async def main() -> ProgramResult[list[Verdict]]:
        async with connect(engine.url) as runtime:
            return await runtime.run(fixer)

    result = anyio.run(main)
    program = result.program
    assert program.state is ProgramState.FINISHED
    assert all(isinstance(verdict, Verdict) for verdict in result.output)
    assert {child.agent for child in program.children} == {reviewer.name}
    assert len(program.turns) <= 6
    # Forks find in the cache what their parent was sent.
    first = program.children[0].turns[0]
    assert first.cached_tokens is not None
    assert first.cached_tokens > 0.5 * first.input_tokens
