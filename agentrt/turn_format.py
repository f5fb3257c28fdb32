"""The form of a model's reply in a turn with tools: one JSON object, a call or an answer.

{"name": "grep", "arguments": {"pattern": "def "}}
{"answer": "The commit is 4f0c2d1."}

Where an answer is to be of a type, its value is no text but JSON of that type, and a turn without
tools has the form of the second line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic_core

from agentrt.answer_form import AnswerForm
from agentrt.schema import Schema
from agentrt.text import excerpt

if TYPE_CHECKING:
    from agentrt.tool import Tool


def instructions(form: AnswerForm[Any], *, with_tools: bool) -> str:
    """What the model is told of the form, whatever model it is; empty for free text."""
    if not with_tools and form.is_text:
        return ""
    answer = f'{{"answer": {form.described()}}}'
    call = '{"name": TOOL, "arguments": {...}} to use a tool, or ' if with_tools else ""
    when = " when you know the answer" if with_tools else ""
    return f"Reply with one JSON object and nothing else: {call}{answer}{when}.{form.explained()}"


_CONTROL_AS_SPACE = dict.fromkeys(range(32), " ")


@dataclass(frozen=True, slots=True)
class Call:
    """The model wants a tool; neither the name nor the arguments are checked yet."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model is done; what it answered is not checked yet."""

    value: Any


@dataclass(frozen=True, slots=True)
class Broken:
    """The reply is neither.

    Attributes:
        reason: what is wrong with it, for the model to read.
        answer: beginning of an answer that was cut; None if there is none.
    """

    reason: str
    answer: str | None = None


def describe_tools(tools: Iterable[Tool]) -> str:
    """Tools that the prompt does not list, in words."""
    lines = [json.dumps(tool.description_for_model()["function"]) for tool in tools]
    return "\n".join(["You may use these tools, too:", *lines])


def response_format(tools: Iterable[Tool], answer: Schema | None) -> dict[str, Any]:
    """The constraint on a turn: a call of one of the tools, or an answer.

    Args:
        tools: what may be called; none on the last turn, which forces an answer.
        answer: bounded schema of its value; None admits calls only.
    """
    branches = [_object(name={"const": tool.name}, arguments=tool.call_schema) for tool in tools]
    if answer is not None:
        branches.append(_object(answer=answer))
    schema = branches[0] if len(branches) == 1 else {"anyOf": branches}
    return {
        "type": "json_schema",
        "json_schema": {"name": "turn", "strict": True, "schema": schema},
    }


def parse_reply(text: str, *, told: str, cut_at: int | None) -> Call | Answer | Broken:
    """Read a reply.

    Args:
        text: the reply, verbatim.
        told: the instructions that it should follow.
        cut_at: the token limit that ended generation, or None if the model ended it.
    """
    try:
        # Not strict: the grammars of engines let raw control characters into strings.
        reply = json.loads(text, strict=False)
    except ValueError as error:
        return _broken(text, told, cut_at, error)
    match reply:
        case {"answer": answer}:
            return Answer(answer)
        case {"name": str(name), "arguments": dict(arguments)}:
            return Call(name, arguments)
    return Broken(f"This reply is neither a call nor an answer: {excerpt(text)}. {told}")


def _broken(text: str, told: str, cut_at: int | None, error: ValueError) -> Broken:
    if cut_at is None:
        return Broken(f"This reply is not JSON ({error}): {excerpt(text)}. {told}")
    return Broken(
        f"Your reply was cut at {cut_at} tokens, before its JSON ended, and was not used. "
        f"It began {excerpt(text, 80)}. Reply again, shorter.",
        answer=_cut_answer(text),
    )


def _cut_answer(text: str) -> str | None:
    try:
        reply = pydantic_core.from_json(
            text.translate(_CONTROL_AS_SPACE), allow_partial="trailing-strings"
        )
    except ValueError:
        return None
    match reply:
        case {"answer": str(answer)} if answer:
            return answer
    return None


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
