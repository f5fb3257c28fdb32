"""Turns of a program, against a scripted engine."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from agentrt import Agent, Context, ProgramResult, ProgramState, ToolOutcome, agent, connect, tool
from agentrt.errors import NoAnswer
from agentrt.testing import Step, answer, call, cut, says
from agentrt_engine.wire.bounded_strings import ESCAPES_COMMENT
from tests.support.scripted_engine import INFO, ScriptedEngine


@tool
async def lookup(word: str) -> str:
    """Look a word up.

    Args:
        word: the word.
    """
    return f"{word} means {word}"


@agent(tools=[lookup], max_turns=4, max_tokens=64, temperature=0.0, seed=7)
async def reader(ctx: Context, question: str = "What is a cat?") -> str:
    """You read a dictionary."""
    return await ctx.loop(question)


@agent(max_tokens=16)
async def talker(ctx: Context, prompt: str) -> str:
    """You talk."""
    return await ctx.loop(prompt)


def run(engine: ScriptedEngine, program: Agent[..., Any], *inputs: str) -> ProgramResult[Any]:
    async def main() -> ProgramResult[Any]:
        async with connect(engine.url) as runtime:
            return await runtime.run(program, *inputs)

    return anyio.run(main)


def messages(engine: ScriptedEngine, turn: int = -1) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = engine.requests[turn].body["messages"]
    return sent


def schema(engine: ScriptedEngine, turn: int) -> dict[str, Any]:
    constraint: dict[str, Any] = engine.requests[turn].body["response_format"]
    assert constraint["type"] == "json_schema"
    assert constraint["json_schema"]["strict"] is True
    sent: dict[str, Any] = constraint["json_schema"]["schema"]
    return sent


def test_a_program_takes_turns_until_the_model_answers() -> None:
    steps = [call("lookup", word="cat"), call("lookup", word="dog"), answer("A pet.")]
    with ScriptedEngine(steps) as engine:
        result = run(engine, reader)
    assert result.output == "A pet."
    program = result.program
    assert (program.state, program.label, program.turn) == (ProgramState.FINISHED, "reader#1", 3)
    assert [(c.name, c.outcome) for c in program.tool_calls] == [
        ("lookup", ToolOutcome.FINISHED)
    ] * 2
    assert [m["content"] for m in messages(engine) if m["role"] == "tool"] == [
        "cat means cat",
        "dog means dog",
    ]


def test_each_prompt_extends_the_one_before_with_the_verbatim_reply() -> None:
    spaced = says('{"name" :"lookup",\n "arguments":{ "word": "é" }}')
    with ScriptedEngine([spaced, call("lookup", word="dog"), answer("A pet.")]) as engine:
        run(engine, reader)
    for before, after in pairwise(engine.requests):
        sent = before.body["messages"]
        assert after.body["messages"][: len(sent)] == sent
        assert after.body["tools"] == before.body["tools"]
    assert messages(engine)[2] == {"role": "assistant", "content": spaced.text}


def test_a_request_carries_limits_tools_and_the_system_prompt() -> None:
    with ScriptedEngine([answer("yes")]) as engine:
        run(engine, reader, "Is it?")
    body = engine.requests[0].body
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (64, 0.0, 7)
    assert body["tools"] == [lookup.description_for_model()]
    system, user = body["messages"]
    assert system["content"].startswith("You read a dictionary.\n\nReply with one JSON object")
    assert user == {"role": "user", "content": "Is it?"}


def test_a_turn_may_call_any_tool_or_answer() -> None:
    with ScriptedEngine([answer("yes")]) as engine:
        run(engine, reader)
    called, answered = schema(engine, 0)["anyOf"]
    assert called["properties"] == {"name": {"const": "lookup"}, "arguments": lookup.call_schema}
    assert answered["properties"]["answer"]["maxLength"] == reader.answer_limit


def test_the_last_turn_forces_an_answer() -> None:
    steps = [call("lookup", word=str(n)) for n in range(3)] + [answer("Enough.")]
    with ScriptedEngine(steps) as engine:
        assert run(engine, reader).output == "Enough."
    assert "anyOf" in schema(engine, 2)
    assert list(schema(engine, 3)["properties"]) == ["answer"]
    assert engine.requests[3].body["tools"] == engine.requests[0].body["tools"]


def test_a_last_answer_that_was_cut_is_kept_as_far_as_it_came() -> None:
    steps = [call("lookup", word=str(n)) for n in range(3)]
    with ScriptedEngine([*steps, cut('{"answer": "Because the\t')]) as engine:
        result = run(engine, reader)
    assert result.output == "Because the "
    assert result.program.turns[-1].finish_reason == "length"


@pytest.mark.parametrize("last", [cut('{"ans'), says("I think"), call("lookup", word="x")])
def test_a_last_turn_without_an_answer_fails_the_program(last: Step) -> None:
    steps = [call("lookup", word=str(n)) for n in range(3)]
    with ScriptedEngine([*steps, last]) as engine, pytest.raises(NoAnswer, match="in 4 turns"):
        run(engine, reader)


def test_a_cut_call_is_shown_as_an_error() -> None:
    broken = says('{"name": "lookup", "argu', finish_reason="length", output_tokens=64)
    with ScriptedEngine([broken, answer("ok")]) as engine:
        result = run(engine, reader)
    assert result.output == "ok"
    assert messages(engine)[-2:] == [
        {"role": "assistant", "content": broken.text},
        {
            "role": "user",
            "content": "Your reply was cut at 64 tokens, before its JSON ended, and was not used. "
            """It began '{"name": "lookup", "argu'. Reply again, shorter.""",
        },
    ]
    assert result.program.tool_calls == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (says("Sure! I will look."), "This reply is not JSON (Expecting value"),
        (says(""), "This reply is not JSON"),
        (says("[1]"), "neither a call nor an answer: '[1]'"),
        (says('{"name": "lookup"}'), "neither a call nor an answer"),
        (says('{"answer": 4}'), "does not fit: input: Input should be a valid string"),
    ],
)
def test_a_reply_of_another_form_is_shown_as_an_error(reply: Step, error: str) -> None:
    with ScriptedEngine([reply, answer("ok")]) as engine:
        assert run(engine, reader).output == "ok"
    assert error in messages(engine)[-1]["content"]


def test_raw_control_characters_in_strings_are_read() -> None:
    with ScriptedEngine([says('{"answer": "a\tb"}')]) as engine:
        assert run(engine, reader).output == "a\tb"


def test_an_unknown_tool_is_named_in_the_error() -> None:
    with ScriptedEngine([call("fly", to="Rome"), answer("ok")]) as engine:
        result = run(engine, reader)
    assert messages(engine)[-1]["content"] == "there is no tool 'fly'; the tools are lookup"
    assert [c.outcome for c in result.program.tool_calls] == [ToolOutcome.REJECTED]


def test_bad_arguments_are_shown_with_what_was_expected() -> None:
    with ScriptedEngine([call("lookup", wrod="cat"), answer("ok")]) as engine:
        result = run(engine, reader)
    error = messages(engine)[-1]["content"]
    assert "word: Field required; wrod: Extra inputs are not permitted" in error
    assert 'You sent {"wrod":"cat"}, expected {' in error
    assert [c.outcome for c in result.program.tool_calls] == [ToolOutcome.REJECTED]


def test_without_tools_the_text_is_the_answer() -> None:
    with ScriptedEngine([says("Hello {you}")]) as engine:
        assert run(engine, talker, "Hi").output == "Hello {you}"
    body = engine.requests[0].body
    assert "response_format" not in body
    assert "tools" not in body
    assert "temperature" not in body
    assert body["messages"][0] == {"role": "system", "content": "You talk."}


def test_a_second_loop_continues_the_history() -> None:
    @agent(tools=[lookup])
    async def twice(ctx: Context) -> str:
        """You answer twice."""
        return await ctx.loop("one?") + await ctx.loop("two?", max_turns=1, max_tokens=5)

    with ScriptedEngine([answer("1"), answer("2")]) as engine:
        result = run(engine, twice)
    assert result.output == "12"
    assert [m["role"] for m in messages(engine)] == ["system", "user", "assistant", "user"]
    assert engine.requests[1].body["max_tokens"] == 5
    assert [turn.extends_previous for turn in result.program.turns] == [False, True]


def test_a_loop_that_first_brings_tools_tells_their_format() -> None:
    @agent
    async def thinker(ctx: Context) -> str:
        """You think."""
        await ctx.loop("think")
        return await ctx.loop("act", tools=[lookup])

    with ScriptedEngine([says("hm"), answer("done")]) as engine:
        result = run(engine, thinker)
    assert messages(engine)[0]["content"] == "You think."
    assert messages(engine)[-1]["content"].startswith("Reply with one JSON object")
    assert messages(engine)[-1]["content"].endswith("\n\nact")
    # Tools are rendered at the beginning of a prompt, so nothing of the first is reused.
    assert [turn.extends_previous for turn in result.program.turns] == [False, False]


def test_two_loops_at_once_are_refused() -> None:
    @agent
    async def hasty(ctx: Context) -> None:
        """You hurry."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ctx.loop, "one")
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="one history"):
                await ctx.loop("two")

    with ScriptedEngine([says("1", delay_s=1)]) as engine:
        run(engine, hasty)


def test_programs_run_at_once_and_keep_apart() -> None:
    scripts = [[call("lookup", word=f"w{n}"), answer(f"a{n}")] for n in range(5)]

    async def main(url: str) -> dict[str, str]:
        async with connect(url) as runtime:
            async with anyio.create_task_group() as tasks:
                for n in range(5):
                    tasks.start_soon(runtime.run, reader, f"q{n}")
            assert [p.label for p in runtime.programs] == [f"reader#{n}" for n in range(1, 6)]
            return {program.program_id: program.output for program in runtime.programs}

    with ScriptedEngine(scripts) as engine:
        outputs = anyio.run(main, engine.url)
    for program_id, requests in engine.requests_by_program().items():
        number = outputs[program_id].removeprefix("a")
        assert requests[-1].body["messages"][-1]["content"] == f"w{number} means w{number}"


def test_requests_carry_the_identity_of_their_program() -> None:
    with ScriptedEngine([call("lookup", word="x"), answer("ok")], info=INFO) as engine:
        program = run(engine, reader).program
    for request in engine.requests:
        assert request.headers["x-agentrt-program-id"] == program.program_id
        assert request.headers["x-dynamo-session-id"] == program.program_id
        tag = {"program_id": program.program_id, "agent": "reader"}
        assert request.body["custom_params"] == {"agentrt": tag}
        assert request.body["return_meta_info"] is True
    assert len({request.headers["x-request-id"] for request in engine.requests}) == 2


def test_an_engine_without_the_plugin_gets_no_private_fields() -> None:
    with ScriptedEngine([answer("ok")]) as engine:
        run(engine, reader)
    assert {"custom_params", "return_meta_info"}.isdisjoint(engine.requests[0].body)


def test_tokens_and_queue_times_are_read_where_the_engine_tells_them() -> None:
    steps = [
        says('{"name": "lookup", "arguments": {"word": "x"}}', input_tokens=100, output_tokens=9),
        says('{"answer": "y"}', input_tokens=130, output_tokens=4, cached_tokens=108, queue_s=0.5),
    ]
    with ScriptedEngine(steps, info=INFO) as engine:
        program = run(engine, reader).program
    assert (program.input_tokens, program.output_tokens) == (230, 13)
    assert [turn.cached_tokens for turn in program.turns] == [None, 108]
    assert (program.cached_tokens, program.queue_s) == (108, 0.5)
    assert program.model_s > 0
    assert program.tool_s == program.tool_calls[0].seconds


def test_the_workspace_is_made_on_demand_and_removed() -> None:
    @agent
    async def writer(ctx: Context) -> str:
        """You write."""
        (ctx.workspace / "file").write_text("x")
        (ctx.workspace / "file").chmod(0o400)
        return str(ctx.workspace)

    async def main(url: str) -> None:
        async with connect(url) as runtime:
            first = (await runtime.run(writer)).output
            second = (await runtime.run(writer)).output
        assert first != second
        assert not await anyio.Path(first).exists()
        assert not await anyio.Path(second).exists()

    with ScriptedEngine() as engine:
        anyio.run(main, engine.url)


@tool
async def spell(word: str) -> str:
    """Spell a word.

    Args:
        word: the word.
    """
    return " ".join(word)


@agent(tools=[lookup, spell])
async def narrowed(ctx: Context) -> str:
    """You read a dictionary."""
    await ctx.loop("Look it up.", tools=[lookup], tool_choice="required", max_turns=2)
    return await ctx.loop("Now say it.", tools=[])


def test_a_narrowed_loop_constrains_the_decoder_and_keeps_the_prompt() -> None:
    with ScriptedEngine([call("lookup", word="cat"), answer("A pet."), says("Cat.")]) as engine:
        assert run(engine, narrowed).output == "Cat."
    listed = [lookup.description_for_model(), spell.description_for_model()]
    assert [request.body["tools"] for request in engine.requests] == [listed] * 3
    assert schema(engine, 0)["properties"]["name"] == {"const": "lookup"}
    assert list(schema(engine, 1)["properties"]) == ["answer"]
    assert "response_format" not in engine.requests[2].body


def test_a_required_call_is_the_only_form_of_the_first_turn() -> None:
    with ScriptedEngine([call("lookup", word="cat"), answer("A pet."), says("Cat.")]) as engine:
        run(engine, narrowed)
    assert set(schema(engine, 0)["properties"]) == {"name", "arguments"}


def test_only_an_agentrt_engine_is_asked_for_escapes_in_bounded_strings() -> None:
    for info, comment in ((None, None), (INFO, ESCAPES_COMMENT)):
        with ScriptedEngine([answer("yes")], info=info) as engine:
            run(engine, reader)
        assert schema(engine, 0).get("$comment") == comment
