"""Bounding JSON schemas, over generated schemas and over generated Python types."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from agentrt.errors import DefinitionError
from agentrt.schema import LONG_STRING, Bounds, Schema, bounded, inline
from tests.sdk.instances import instances


class Point(BaseModel):
    x: int
    label: str = "here"


class Node(BaseModel):
    children: list[Node]


SCALARS: list[Any] = [
    str,
    int,
    float,
    bool,
    type(None),
    Any,
    Literal["a", "b", 3],
    Point,
    Annotated[int, Field(gt=3)],
    Annotated[int, Field(le=-5_000_000_000)],
    Annotated[float, Field(ge=2e9)],
    Annotated[str, Field(min_length=2)],
    Annotated[str, Field(max_length=3)],
    Annotated[str, Field(min_length=300)],
]


# As values, so that mypy does not read the subscripts below as annotations.
_generics: list[Any] = [list, dict, tuple, Annotated]
_list, _dict, _tuple, _annotated = _generics


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda kind: _list[kind]),
        inner.map(lambda kind: set[str] | _list[kind]),
        inner.map(lambda kind: _dict[str, kind]),
        inner.map(lambda kind: _dict[Literal["k", "l"], kind]),
        inner.map(lambda kind: kind | None),
        inner.map(lambda kind: _annotated[_list[kind], Field(min_length=1, max_length=2)]),
        st.tuples(inner, inner).map(lambda kinds: _tuple[kinds[0], kinds[1]]),
    )


types = st.recursive(st.sampled_from(SCALARS), _containers, max_leaves=4)


def find_unbounded(schema: Schema, path: str = "$") -> list[str]:
    """Places of a schema where an instance may be of any length."""
    if "const" in schema or "enum" in schema:
        return []
    if "anyOf" in schema:
        return [
            place
            for i, branch in enumerate(schema["anyOf"])
            for place in find_unbounded(branch, f"{path}|{i}")
        ]
    found = []
    match schema["type"]:
        case "string":
            found += [path] if "maxLength" not in schema and "format" not in schema else []
        case "integer" | "number":
            low = max(schema.get(key, -math.inf) for key in ("minimum", "exclusiveMinimum"))
            high = min(schema.get(key, math.inf) for key in ("maximum", "exclusiveMaximum"))
            found += [] if math.isfinite(low) and math.isfinite(high) and low <= high else [path]
        case "array":
            found += [] if "maxItems" in schema else [path]
            for i, item in enumerate(schema.get("prefixItems", [schema.get("items")])):
                found += find_unbounded(item, f"{path}[{i}]")
        case "object" if schema["additionalProperties"] is False:
            for name, child in schema["properties"].items():
                found += find_unbounded(child, f"{path}.{name}")
        case "object":
            found += [] if "maxProperties" in schema else [path]
            found += find_unbounded(schema["propertyNames"], f"{path}.key")
            found += find_unbounded(schema["additionalProperties"], f"{path}.value")
        case other:
            assert other in ("boolean", "null"), other
    return found


@given(types)
@settings(deadline=None, max_examples=150)
def test_every_part_of_a_bounded_schema_has_a_limit(kind: Any) -> None:
    assert find_unbounded(bounded(inline(TypeAdapter(kind).json_schema()))) == []


@given(types, st.data())
@settings(deadline=None, max_examples=100)
def test_pydantic_accepts_what_a_bounded_schema_describes(kind: Any, data: st.DataObject) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    schema = bounded(inline(adapter.json_schema()))
    adapter.validate_python(data.draw(instances(schema)))


def test_limits_of_the_author_are_kept() -> None:
    kind = Annotated[str, Field(min_length=5, max_length=2_000)]
    schema = bounded(TypeAdapter(kind).json_schema(), Bounds(string=10))
    assert (schema["minLength"], schema["maxLength"]) == (5, 2_000)


def test_an_exclusive_bound_of_an_integer_becomes_inclusive() -> None:
    schema = bounded({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 5})
    assert schema == {"type": "integer", "minimum": 1, "maximum": 4}


def test_an_open_format_or_pattern_is_left_to_validation() -> None:
    schema = bounded({"type": "string", "format": "email", "pattern": "a+"}, Bounds(string=7))
    assert schema == {"type": "string", "maxLength": 7}


def test_references_are_inlined_and_titles_dropped() -> None:
    schema = inline(TypeAdapter(list[Point]).json_schema())
    assert schema["items"]["properties"] == {
        "x": {"type": "integer"},
        "label": {"type": "string", "default": "here"},
    }
    assert "$defs" not in schema


def test_a_property_named_like_a_keyword_survives() -> None:
    class Book(BaseModel):
        title: str

    assert inline(Book.model_json_schema())["properties"] == {"title": {"type": "string"}}


def test_a_type_that_contains_itself_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Node contains itself"):
        inline(TypeAdapter(list[Node]).json_schema())


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(DefinitionError, match="no bounded form"):
        bounded({"type": "integer-ish"})


def test_long_strings_are_left_to_the_token_limit() -> None:
    long = {"type": "string", "maxLength": LONG_STRING}
    assert bounded(long) == {"type": "string"}
    assert bounded({**long, "maxLength": LONG_STRING - 1}) == {
        "type": "string",
        "maxLength": LONG_STRING - 1,
    }
