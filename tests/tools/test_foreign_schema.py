"""Schemas that others wrote: what is made of them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from agentrt.errors import DefinitionError
from agentrt.schema import bounded, inline
from agentrt_tools.foreign_schema import plain


def argument(schema: Any, name: str = "x", definitions: Any = None) -> Any:
    """What the decoder permits for an argument of this schema."""
    arguments = {"type": "object", "properties": {name: schema}, "$defs": definitions}
    return bounded(inline(plain(arguments)))["properties"][name]


@pytest.mark.parametrize(
    "name", ["properties", "definitions", "$defs", "items", "type", "allOf", "anyOf", "title"]
)
def test_an_argument_may_be_called_like_a_keyword(name: str) -> None:
    assert argument({"type": "boolean"}, name) == {"type": "boolean"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Switch"},
        {"$ref": "#/definitions/Switch"},
        {"allOf": [{"$ref": "#/$defs/Switch"}]},
        {"$ref": "#/properties/other"},
        {"$ref": "#/$defs/Choice/anyOf/0"},
        {"$ref": "#/$defs/with~1slash%20and~0tilde"},
    ],
)
def test_references_are_followed(schema: Any) -> None:
    switch = {"type": "boolean"}
    found = inline(
        plain(
            {
                "type": "object",
                "properties": {"x": schema, "other": switch},
                "definitions": {"Switch": switch},
                "$defs": {
                    "Switch": switch,
                    "Choice": {"anyOf": [switch, {"type": "null"}]},
                    "with/slash and~tilde": switch,
                },
            }
        )
    )
    assert bounded(found)["properties"]["x"] == switch


def test_several_types_become_alternatives() -> None:
    schema = {"type": ["boolean", "null"], "description": "on or off"}
    assert argument(schema) == {"anyOf": [{"type": "boolean"}, {"type": "null"}]}
    assert plain(schema)["description"] == "on or off"


def test_what_has_parts_has_a_type() -> None:
    assert argument({"properties": {"a": {"type": "null"}}})["type"] == "object"
    assert argument({"items": {"type": "null"}})["type"] == "array"


@pytest.mark.parametrize("schema", [True, {}, {"examples": [1], "title": "Anything"}])
def test_what_may_be_anything_is_a_scalar(schema: Any) -> None:
    scalar = argument({})
    assert len(scalar["anyOf"]) == 5
    assert argument(schema) == scalar
    assert argument({"type": "array", "items": schema})["items"] == scalar


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (False, "#/properties/x: no bounded form is known for {'not': {}}"),
        (3, "#/properties/x: 3 is no JSON schema"),
        (
            {"type": "array", "items": {"allOf": [{"type": "string"}, {"type": "null"}]}},
            "#/properties/x/items: no bounded form is known for {'allOf'",
        ),
        ({"$ref": "#/$defs/none"}, "#/properties/x: the reference '#/$defs/none' leads nowhere"),
        ({"$ref": "#/properties/x/9"}, "the reference '#/properties/x/9' leads nowhere"),
        ({"$ref": "other.json"}, "the reference 'other.json' leads out of the schema"),
        ({"$ref": "#"}, "the type # contains itself"),
        ({"$ref": "#/$defs/Node"}, "the type Node contains itself"),
    ],
)
def test_what_has_no_bounded_form_is_refused_with_its_place(schema: Any, said: str) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    with pytest.raises(DefinitionError) as refused:
        argument(schema, definitions={"Node": node})
    assert said in str(refused.value)
