"""Decoding with messages that name the place, the field, its value and what was expected."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from agentrt.errors import TraceError

T = TypeVar("T")

#: Tokens of a prompt: at least one.
PromptTokens = Annotated[int, msgspec.Meta(ge=1)]
#: Tokens, a duration or a time, never negative.
Count = Annotated[int, msgspec.Meta(ge=0)]
Duration = Annotated[float, msgspec.Meta(ge=0)]
BlockSize = Annotated[int, msgspec.Meta(ge=1)]

HINT = "mend the file, or name another format with --format"

_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]")
_SHOWN_CHARACTERS = 60


def decode(decoder: msgspec.json.Decoder[T], document: bytes | msgspec.Raw, place: str) -> T:
    """Decode one JSON document.

    Args:
        place: file and line, for the message.

    Raises:
        TraceError: it is not JSON, or a field is missing or has an unusable value.
    """
    try:
        return decoder.decode(document)
    except msgspec.ValidationError as error:
        raise TraceError(f"{place}: {_explain(str(error), bytes(document))}", hint=HINT) from error
    except msgspec.DecodeError as error:
        raise TraceError(f"{place}: {_not_json(bytes(document), error)}", hint=HINT) from error


def bad_value(place: str, field: str, value: object, expected: str) -> TraceError:
    """The error for a value that only its surroundings show to be unusable."""
    return TraceError(f"{place}: {field} is {_shown(value)}, expected {expected}", hint=HINT)


def _explain(message: str, document: bytes) -> str:
    parts = _MESSAGE.fullmatch(message)
    if parts is None:
        return message
    problem, path = parts["problem"], parts["path"] or "$"
    if missing := _MISSING.fullmatch(problem):
        return f"{_field(path + '.' + missing['field'])} is missing"
    value = _value_at(msgspec.json.decode(document), path)
    expected = problem.partition(", got ")[0].removeprefix("Expected ").replace("`", "")
    return f"{_field(path)} is {_shown(value)}, expected {expected}"


def _field(path: str) -> str:
    return path.removeprefix("$").removeprefix(".") or "the line"


def _value_at(value: Any, path: str) -> object:
    for step in _STEP.finditer(path):
        try:
            value = value[step["key"] if step["key"] is not None else int(step["index"])]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _not_json(document: bytes, error: msgspec.DecodeError) -> str:
    # Python reads NaN and Infinity, which JSON does not have; then the field can be named.
    try:
        value = json.loads(document)
    except ValueError:
        return f"not JSON: {error}"
    for path, number in _numbers(value, ""):
        if not math.isfinite(number):
            return f"{path.removeprefix('.')} is {number}, expected a finite number"
    return f"not JSON: {error}"


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{path}[{index}]")
