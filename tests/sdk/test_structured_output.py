"""Answers that are values of a type."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentrt import Agent, Context, agent, connect
from agentrt.errors import DefinitionError, NoAnswer
from agentrt.testing import Step, answer, call, cut, says
from tests.sdk.test_loop import lookup, messages, run, schema
from tests.support.scripted_engine import ScriptedEngine


class Review(BaseModel):
    """A review."""

    verdict: str
    score: Annotated[int, Field(ge=0, le=10)]
    remarks: list[str] = []


@dataclass
class Point:
    x: int
    y: int


class Word(TypedDict):
    word: str


@agent(tools=[lookup], max_turns=3)
async def reviewer(ctx: Context[Review], diff: str) -> Review:
    """You review."""
    return await ctx.loop(diff)


def value(content: Any) -> Step:
    return says(json.dumps({"answer": content}))


GOOD = {"verdict": "fine", "score": 7}


def test_an_answer_is_a_value_of_the_type_of_the_context() -> None:
    with ScriptedEngine([call("lookup", word="x"), value(GOOD)]) as engine:
        result = run(engine, reviewer, "a diff")
    assert result.output == Review(verdict="fine", score=7)
    answered = schema(engine, 0)["anyOf"][-1]["properties"]["answer"]
    assert answered["properties"]["score"] == {"type": "integer", "minimum": 0, "maximum": 10}
    assert answered["properties"]["verdict"]["maxLength"] == 200
    system = messages(engine)[0]["content"]
    assert '{"answer": VALUE} when you know the answer. VALUE fits this JSON schema: {' in system


def test_the_return_annotation_of_a_plain_context_says_it_too() -> None:
    @agent
    async def finder(ctx: Context, where: str) -> Point:
        """You find."""
        found: Any = await ctx.loop(where)
        assert isinstance(found, Point)
        return found

    with ScriptedEngine([value({"x": 1, "y": 2})]) as engine:
        assert run(engine, finder, "here").output == Point(1, 2)
    assert messages(engine)[0]["content"].startswith(
        'You find.\n\nReply with one JSON object and nothing else: {"answer": VALUE}. VALUE fits'
    )
    assert list(schema(engine, 0)["properties"]) == ["answer"]


@pytest.mark.parametrize("returned", [str, None, int, list[str]])
def test_other_return_annotations_leave_it_at_text(returned: Any) -> None:
    async def talker(ctx: Context) -> Any:
        """You talk."""
        return len(await ctx.loop("talk"))

    talker.__annotations__["return"] = returned
    with ScriptedEngine([says("four")]) as engine:
        assert run(engine, agent(talker)).output == 4
    assert "response_format" not in engine.requests[0].body


def test_a_loop_may_have_a_type_of_its_own() -> None:
    @agent
    async def both(ctx: Context) -> tuple[Word, str, list[int]]:
        """You do."""
        word = await ctx.loop("one word", output=Word)
        text = await ctx.loop("and why?")
        return word, text, await ctx.loop("count", output=list[int])

    steps = [value({"word": "tea"}), says("Because."), value([1, 2])]
    with ScriptedEngine(steps) as engine:
        assert run(engine, both).output == ({"word": "tea"}, "Because.", [1, 2])
    asked = [message["content"] for message in messages(engine) if message["role"] == "user"]
    assert asked[0] == "one word"
    assert asked[1] == "and why?"
    assert asked[2].startswith("Reply with one JSON object and nothing else: ")
    assert asked[2].endswith("\n\ncount")


def test_an_answer_that_does_not_fit_is_shown_to_the_model() -> None:
    with ScriptedEngine([value({"verdict": "fine", "score": 70}), value(GOOD)]) as engine:
        assert run(engine, reviewer, "a diff").output.score == 7
    said = messages(engine)[-1]
    assert said["role"] == "user"
    assert said["content"].startswith(
        "This answer does not fit: score: Input should be less than or equal to 10. Reply with one"
    )


@pytest.mark.parametrize("last", [value("text"), cut('{"answer": {"verdict": "fi')])
def test_without_a_fitting_answer_there_is_none(last: Step) -> None:
    with ScriptedEngine([last] * 3) as engine, pytest.raises(NoAnswer, match="in 3 turns"):
        run(engine, reviewer, "a diff")


def test_text_is_no_number() -> None:
    @agent(tools=[lookup], max_turns=2)
    async def talker(ctx: Context) -> str:
        """You talk."""
        return await ctx.loop("talk")

    with ScriptedEngine([value(4), answer("four")]) as engine:
        assert run(engine, talker).output == "four"
    assert "answer does not fit: input: Input should be a valid string" in str(messages(engine))


def test_a_type_that_json_cannot_express_is_refused_where_it_is_written() -> None:
    class Tree(BaseModel):
        children: list[Tree]

    Tree.model_rebuild(_types_namespace={"Tree": Tree})

    async def grower(ctx: Context) -> Any:
        """You grow."""

    for bad in (Tree, type):
        grower.__annotations__["ctx"] = Context[bad]  # type: ignore[valid-type]
        with pytest.raises(DefinitionError, match=r"grower \(.*an answer of this type cannot"):
            agent(grower)


def test_a_typed_program_is_typed_to_its_end() -> None:
    async def main(url: str, program: Agent[[str], Review]) -> Review:
        async with connect(url) as runtime:
            return (await runtime.run(program, "a diff")).output

    with ScriptedEngine([value(GOOD)]) as engine:
        assert anyio.run(main, engine.url, reviewer).verdict == "fine"
