"""JSON schemas that others wrote, in the forms that ours have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from agentrt.errors import DefinitionError
from agentrt.schema import Schema

#: Keywords whose values are schemas by name, a list of schemas, or one schema.
_NAMED, _LISTED, _SINGLE = (
    ("properties", "patternProperties"),
    ("anyOf", "oneOf", "allOf", "prefixItems"),
    ("items", "additionalProperties", "propertyNames"),
)

#: What says nothing about what fits; definitions are looked up where they are referred to.
_LEFT_OUT = frozenset(
    ("$schema", "$id", "$comment", "$defs", "definitions", "examples", "deprecated")
)

#: A part has one of these, or says nothing at all.
_SAYS_WHAT_FITS = frozenset(("type", "$ref", "anyOf", "oneOf", "enum", "const"))
_SAYS_NOTHING = frozenset(("title", "description", "default"))

_OWN_DEFINITIONS = "#/$defs/"

#: Makes a part of a schema, which stands at a place, plain.
_Walk = Callable[[Any, str], Schema]


def plain(schema: Mapping[str, Any]) -> Schema:
    """The schema with one type in each part, and all that it refers to in `$defs`.

    Raises:
        DefinitionError: a part is no schema or has no bounded form, or a reference leads nowhere;
            the message names the place.
    """
    referred: dict[str, Schema] = {}

    def walk(node: Any, place: str) -> Schema:
        if isinstance(node, bool):
            node = {} if node else {"not": {}}
        if not isinstance(node, Mapping):
            raise DefinitionError(f"{place}: {node!r} is no JSON schema")
        kept = {
            key: _part(key, value, place, walk)
            for key, value in node.items()
            if key not in _LEFT_OUT
        }
        if (pointer := kept.get("$ref")) is not None:
            name = str(pointer).removeprefix(_OWN_DEFINITIONS)
            if name not in referred:
                referred[name] = {}  # of one that contains itself, until it is known
                referred[name] = walk(_at(schema, str(pointer), place), str(pointer))
        typed = _with_one_type(kept)
        if typed.keys() - _SAYS_NOTHING and not typed.keys() & _SAYS_WHAT_FITS:
            raise DefinitionError(f"{place}: no bounded form is known for {dict(node)!r}")
        return typed

    walked = walk(schema, "#")
    return {**walked, "$defs": referred} if referred else walked


def _part(key: str, value: Any, place: str, walk: _Walk) -> Any:
    below = f"{place}/{key}"
    if key in _NAMED and isinstance(value, Mapping):
        return {name: walk(child, f"{below}/{name}") for name, child in value.items()}
    if key in _LISTED and isinstance(value, list):
        return [walk(child, f"{below}/{number}") for number, child in enumerate(value)]
    # Whether there may be other properties is said by a mere yes or no.
    if key in _SINGLE and not (key == "additionalProperties" and isinstance(value, bool)):
        return walk(value, below)
    return value


def _with_one_type(node: Schema) -> Schema:
    kinds = node.get("type")
    if isinstance(kinds, list):
        rest = {key: value for key, value in node.items() if key not in ("type", "description")}
        described = {key: node[key] for key in ("description",) if key in node}
        return described | {"anyOf": [{**rest, "type": kind} for kind in kinds]}
    whole = node.get("allOf", [])
    if len(whole) == 1:
        node = {**{key: value for key, value in node.items() if key != "allOf"}, **whole[0]}
    for key, kind in (("properties", "object"), ("items", "array")):
        if key in node:
            return {"type": kind} | node
    return node


def _at(schema: Any, pointer: str, place: str) -> Any:
    """What a reference leads to (JSON Pointer, RFC 6901)."""
    if not pointer.startswith("#"):
        raise DefinitionError(f"{place}: the reference {pointer!r} leads out of the schema")
    node = schema
    for part in pointer.removeprefix("#").split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(name) if isinstance(node, list) else name]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DefinitionError(f"{place}: the reference {pointer!r} leads nowhere") from error
    return node
