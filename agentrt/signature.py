"""What a Python function takes, as JSON: read from its type hints and its docstring."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NewType, NotRequired, get_args, get_origin

import docstring_parser
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict

from agentrt.answer_form import describes_an_answer
from agentrt.context import Context
from agentrt.errors import DefinitionError
from agentrt.schema import Schema, inline

#: Annotation of a tool's parameter that the runtime fills in: the same text for every attempt at
#: one call, after a crash too, and another one for every other call.
IdempotencyKey = NewType("IdempotencyKey", str)


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters of an agent or a tool, without those that the runtime fills in.

    Attributes:
        context_parameter: name of the parameter that receives the `Context`, if there is one.
        key_parameter: name of the parameter that receives an `IdempotencyKey`, if there is one.
        returns: the return annotation; None if there is none.
        answer: type of the answers of its loops: X of `Context[X]`, or the return annotation where
            that is a model, a dataclass or a TypedDict; else text.
        names: the other parameters, in order.
        validator: turns a JSON object into keyword arguments; refuses unknown keys.
        schema: the JSON schema of that object, without references.
    """

    context_parameter: str | None
    key_parameter: str | None
    returns: Any
    answer: Any
    names: tuple[str, ...]
    validator: TypeAdapter[dict[str, Any]]
    schema: Schema


def read_signature(function: Callable[..., Any]) -> Signature:
    """Read the signature of a function whose parameters are all annotated.

    Raises:
        DefinitionError: a parameter is not annotated, cannot be passed by name, or has a type
            that JSON cannot express; or more than one parameter is a `Context`.
    """
    where = describe_function(function)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DefinitionError(
            f"{where}: an annotation names {error.name!r}, which is not defined in its module",
            hint="define the type at module level, above the function",
        ) from error
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(
                f"{where}: parameter {parameter} cannot be passed by name",
                hint="use named parameters instead of *args, **kwargs or positional-only ones",
            )
        if parameter.name not in hints:
            raise DefinitionError(
                f"{where}: parameter {parameter.name!r} has no type annotation",
                hint=f"write {parameter.name}: str, or the type it has",
            )
    names = [parameter.name for parameter in parameters]
    contexts = [name for name in names if Context in (hints[name], get_origin(hints[name]))]
    keys = [name for name in names if hints[name] is IdempotencyKey]
    for kind, found in (("a Context", contexts), ("an IdempotencyKey", keys)):
        if len(found) > 1:
            raise DefinitionError(f"{where}: more than one parameter is {kind}: {found}")
    inputs = [parameter for parameter in parameters if parameter.name not in contexts + keys]
    descriptions = _parameter_descriptions(function)
    fields: dict[str, Any] = {}
    for parameter in inputs:
        described: Any = Field(description=descriptions.get(parameter.name))
        annotated: Any = Annotated[hints[parameter.name], described]
        optional = parameter.default is not parameter.empty
        fields[parameter.name] = NotRequired[annotated] if optional else annotated
    try:
        validator: TypeAdapter[dict[str, Any]] = TypeAdapter(_typed_dict(fields))
        schema = inline(validator.json_schema())
    except PydanticUserError as error:
        raise DefinitionError(
            f"{where}: a parameter has a type that JSON cannot express: {error.message}",
            hint="use str, int, float, bool, enums, lists, maps, dataclasses or pydantic models",
        ) from error
    schema.setdefault("properties", {})
    return Signature(
        context_parameter=contexts[0] if contexts else None,
        key_parameter=keys[0] if keys else None,
        returns=hints.get("return"),
        answer=_answer(hints[contexts[0]] if contexts else None, hints.get("return")),
        names=tuple(parameter.name for parameter in inputs),
        validator=validator,
        schema=schema,
    )


def describe_function(function: Callable[..., Any]) -> str:
    """Name and place of a function, for messages: `name (file.py:12)`."""
    code = function.__code__
    return f"{function.__name__} ({code.co_filename}:{code.co_firstlineno})"


def first_paragraph(docstring: str) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(docstring).partition("\n\n")[0].split())


def _answer(context: Any, returned: Any) -> Any:
    if arguments := get_args(context):
        return arguments[0]
    return returned if describes_an_answer(returned) else str


def _typed_dict(fields: dict[str, Any]) -> Any:
    """A type that validates to plain keyword arguments, whatever their names are."""
    make: Any = TypedDict
    return with_config(ConfigDict(extra="forbid"))(make("Arguments", fields))


def _parameter_descriptions(function: Callable[..., Any]) -> dict[str, str]:
    parsed = docstring_parser.parse(function.__doc__ or "")
    return {
        parameter.arg_name: " ".join(parameter.description.split())
        for parameter in parsed.params
        if parameter.description
    }
