"""What `@tool` and `@agent` read from a function, and what they refuse."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from pydantic import ValidationError

from agentrt import Context, agent, tool
from agentrt.errors import DefinitionError, ProgramInputError


class Level(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


@tool(timeout=5)
async def search(
    ctx: Context, pattern: str, level: Level, schema: list[int], json: str = "x", copy: bool = False
) -> str:
    """Search files
    for a pattern.

    More about it.

    Args:
        pattern: an extended
            regular expression.
        level: how deep.
    """
    return pattern


def test_a_tool_is_described_by_its_hints_and_docstring() -> None:
    assert search.description_for_model() == {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search files for a pattern.",
            "parameters": {
                "type": "object",
                "properties": {
                    "pattern": {"type": "string", "description": "an extended regular expression."},
                    "level": {
                        "type": "string",
                        "enum": ["low", "high"],
                        "description": "how deep.",
                    },
                    "schema": {"type": "array", "items": {"type": "integer"}},
                    "json": {"type": "string"},
                    "copy": {"type": "boolean"},
                },
                "required": ["pattern", "level", "schema"],
                "additionalProperties": False,
            },
        },
    }


def test_the_context_is_injected_and_not_an_argument() -> None:
    assert search.signature.context_parameter == "ctx"
    with pytest.raises(ValidationError, match="ctx"):
        search.signature.validator.validate_python(
            {"pattern": "x", "level": "low", "schema": [], "ctx": None}
        )


def test_arguments_are_converted_and_defaults_left_to_the_function() -> None:
    assert search.signature.validator.validate_python(
        {"pattern": "x", "level": "high", "schema": ["4"]}
    ) == {"pattern": "x", "level": Level.HIGH, "schema": [4]}


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    @tool
    def ping() -> str:
        """Ping."""
        return "pong"

    assert ping.call_schema == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def undocumented(x: str) -> str:
    return x


def unannotated(x) -> str:  # type: ignore[no-untyped-def]
    """Do."""
    return str(x)


def variadic(*xs: str) -> str:
    """Do."""
    return str(xs)


def not_json(x: type[Context] | Any, y: Context, z: Context) -> str:
    """Do."""
    return str((x, y, z))


def with_a_callable(x: object, y: memoryview) -> str:
    """Do."""
    return str((x, y))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (undocumented, r"undocumented \(.*test_definitions.py:\d+\): a tool needs a docstring"),
        (unannotated, "parameter 'x' has no type annotation"),
        (variadic, r"parameter \*xs: 'str' cannot be passed by name"),
        (not_json, "more than one parameter is a Context"),
        (with_a_callable, "a type that JSON cannot express"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused(function: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        tool(function)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout=0 s; expected more than 0"),
        ({"output_limit": 0}, "output_limit=0"),
        ({"name": "two words"}, "'two words' is not usable as the name"),
    ],
)
def test_unusable_options_of_a_tool_are_refused(options: Any, message: str) -> None:
    def ping() -> str:
        """Ping."""
        return "pong"

    with pytest.raises(DefinitionError, match=message):
        tool(**options)(ping)


def test_a_local_type_is_refused_with_the_way_out() -> None:
    class Local:
        pass

    def ping(x: Local) -> str:
        """Ping."""
        return str(x)

    with pytest.raises(DefinitionError, match="names 'Local'") as caught:
        tool(ping)
    assert caught.value.hint == "define the type at module level, above the function"


@agent(tools=[search], max_turns=3)
async def finder(ctx: Context, question: str = "where?", depth: int = 1) -> str:
    """You find things.

    Args are not described to a model that plays an agent.
    """
    return f"{question} {depth}"


def test_an_agent_takes_its_prompt_from_the_docstring() -> None:
    assert finder.name == "finder"
    assert finder.instructions == (
        "You find things.\n\nArgs are not described to a model that plays an agent."
    )
    assert finder.signature.names == ("question", "depth")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (None, {}),
        ("who?", {"question": "who?"}),
        ('{"depth": 4}', {"depth": 4}),
        ('{"not": "a parameter"}', {"question": '{"not": "a parameter"}'}),
        ("[1]", {"question": "[1]"}),
    ],
)
def test_typed_input_becomes_arguments(text: str | None, arguments: dict[str, Any]) -> None:
    assert finder.parse_input(text) == arguments


def test_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ProgramInputError, match="agent finder: depth: Input should be a valid int"):
        finder.parse_input('{"depth": "deep"}')


def test_input_for_an_agent_that_takes_none_is_refused() -> None:
    @agent
    async def silent(ctx: Context) -> None:
        """You do nothing."""

    with pytest.raises(ProgramInputError, match="takes no input, but got 'hello'"):
        silent.parse_input("hello")


def test_functions_that_cannot_be_an_agent_are_refused() -> None:
    async def without_context(question: str) -> str:
        """You answer."""
        return question

    def synchronous(ctx: Context) -> str:
        """You answer."""
        return ""

    async def undocumented_agent(ctx: Context) -> str:
        return ""

    decorate: Any = agent
    with pytest.raises(DefinitionError, match="first parameter of an agent is its Context"):
        decorate(without_context)
    with pytest.raises(DefinitionError, match="an agent is an async function"):
        decorate(synchronous)
    with pytest.raises(DefinitionError, match="an agent needs a docstring"):
        decorate(undocumented_agent)


def test_unusable_options_of_an_agent_are_refused() -> None:
    async def worker(ctx: Context) -> str:
        """You work."""
        return ""

    not_tools: Any = [len]
    with pytest.raises(DefinitionError, match="max_turns=0; expected at least 1"):
        agent(max_turns=0)(worker)
    with pytest.raises(DefinitionError, match="is not a tool"):
        agent(tools=not_tools)(worker)
    with pytest.raises(DefinitionError, match="two tools are named 'search'"):
        agent(tools=[search, search])(worker)
