"""JSON schemas of tool arguments: plain for the model to read, bounded for the decoder to obey.

An unbounded schema lets constrained decoding run until the token limit, because a small model
may never choose to close a string. So every string, number, list and map gets a limit where the
author of a tool gave none, and decoding always ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentrt.errors import DefinitionError

Schema = dict[str, Any]

#: Keywords whose values are schemas by name, a list of schemas, or one schema.
_NAMED, _LISTED, _SINGLE = (
    ("properties", "patternProperties"),
    ("anyOf", "oneOf", "allOf", "prefixItems"),
    ("items", "additionalProperties", "propertyNames"),
)

#: A string that may be so long is ended by the token limit of the reply. Decoders count characters
#: one by one, and permit only so many escapes in a string that they count: too few for a program.
LONG_STRING = 1_000

#: Formats that are of bounded length by themselves and that decoders know.
_BOUNDED_FORMATS = frozenset({"date", "uuid"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits put where the author of a tool gave none.

    Attributes:
        string: characters of a string.
        items: items of a list.
        properties: entries of a map.
        key: characters of a key of a map.
        integer: largest magnitude of an integer.
        number: largest magnitude of a float.
    """

    string: int = 200
    items: int = 8
    properties: int = 8
    key: int = 40
    integer: int = 2**31 - 1
    number: float = 1e9


DEFAULT_BOUNDS = Bounds()


def inline(schema: Mapping[str, Any]) -> Schema:
    """The schema without `$ref`, `$defs` and generated titles.

    Raises:
        DefinitionError: the schema refers to itself, so that no bound exists.
    """
    definitions: Mapping[str, Any] = schema.get("$defs", {})

    def walk(node: Any, open_refs: tuple[str, ...]) -> Any:
        if not isinstance(node, Mapping):
            return node
        if "$ref" in node:
            name = str(node["$ref"]).removeprefix("#/$defs/")
            if name in open_refs:
                raise DefinitionError(
                    f"the type {name} contains itself, so its JSON has no bounded form",
                    hint="give the tool a flat type, or pass the structure as a string",
                )
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            return walk({**definitions[name], **siblings}, (*open_refs, name))
        result: Schema = {}
        for key, value in node.items():
            if key in _NAMED:
                result[key] = {name: walk(child, open_refs) for name, child in value.items()}
            elif key in _LISTED:
                result[key] = [walk(child, open_refs) for child in value]
            elif key in _SINGLE:
                result[key] = walk(value, open_refs)
            elif key not in ("$defs", "title", "discriminator"):
                result[key] = value
        return result

    inlined: Schema = walk(schema, ())
    return inlined


def bounded(schema: Mapping[str, Any], bounds: Bounds = DEFAULT_BOUNDS) -> Schema:
    """A schema whose every instance is of limited length, from an inlined schema.

    Limits the author gave are kept, also those above `bounds`. What a decoder cannot bound
    (regular expressions, open formats, multiples, strings from `LONG_STRING` on) is left out here;
    validation of the decoded arguments still enforces it.

    Raises:
        DefinitionError: the schema has a form that is not understood.
    """
    for keyword in ("const", "enum"):
        if keyword in schema:
            return {keyword: schema[keyword]}
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return {"anyOf": [bounded(branch, bounds) for branch in schema[keyword]]}
    match schema.get("type"):
        case "string":
            return _bounded_string(schema, bounds.string)
        case "integer":
            return _bounded_integer(schema, bounds.integer)
        case "number":
            return _bounded_number(schema, bounds.number)
        case "boolean" | "null" as name:
            return {"type": name}
        case "array":
            return _bounded_array(schema, bounds)
        case "object":
            return _bounded_object(schema, bounds)
        case None if not set(schema) - {"description", "default"}:
            return _any_scalar(bounds)
        case unknown:
            raise DefinitionError(f"no bounded form is known for the JSON schema {unknown!r}")


def _bounded_string(schema: Mapping[str, Any], limit: int) -> Schema:
    if schema.get("format") in _BOUNDED_FORMATS:
        return {"type": "string", "format": schema["format"]}
    shortest: int = schema.get("minLength", 0)
    longest: int = schema.get("maxLength", max(limit, shortest))
    if longest >= LONG_STRING and not shortest:
        return {"type": "string"}
    result: Schema = {"type": "string", "maxLength": longest}
    return result | ({"minLength": shortest} if shortest else {})


def _bounded_integer(schema: Mapping[str, Any], magnitude: int) -> Schema:
    low: int | None = schema.get("minimum")
    high: int | None = schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if high is None and "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - 1
    if low is None:
        low = -magnitude if high is None else min(-magnitude, high - magnitude)
    if high is None:
        high = max(magnitude, low + magnitude)
    return {"type": "integer", "minimum": low, "maximum": high}


def _bounded_number(schema: Mapping[str, Any], magnitude: float) -> Schema:
    lows = {key: schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema}
    highs = {key: schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema}
    if not lows:
        lows = {"minimum": min([-magnitude, *(high - magnitude for high in highs.values())])}
    if not highs:
        highs = {"maximum": max([magnitude, *(low + magnitude for low in lows.values())])}
    return {"type": "number"} | lows | highs


def _bounded_array(schema: Mapping[str, Any], bounds: Bounds) -> Schema:
    fewest: int = schema.get("minItems", 0)
    result: Schema = {"type": "array"}
    if "prefixItems" in schema:
        result["prefixItems"] = [bounded(item, bounds) for item in schema["prefixItems"]]
        result["maxItems"] = result["minItems"] = len(result["prefixItems"])
        return result
    result["items"] = bounded(schema.get("items", {}), bounds)
    result["maxItems"] = schema.get("maxItems", max(bounds.items, fewest))
    return result | ({"minItems": fewest} if fewest else {})


def _bounded_object(schema: Mapping[str, Any], bounds: Bounds) -> Schema:
    values = schema.get("additionalProperties", True)
    if "properties" in schema or values is False:
        return {
            "type": "object",
            "properties": {
                name: bounded(value, bounds) for name, value in schema.get("properties", {}).items()
            },
            "required": list(schema.get("required", [])),
            "additionalProperties": False,
        }
    fewest: int = schema.get("minProperties", 0)
    keys = schema.get("propertyNames", {})
    result: Schema = {
        "type": "object",
        "propertyNames": bounded({"type": "string", **keys}, Bounds(string=bounds.key)),
        "additionalProperties": bounded({} if values is True else values, bounds),
        "maxProperties": schema.get("maxProperties", max(bounds.properties, fewest)),
    }
    return result | ({"minProperties": fewest} if fewest else {})


def _any_scalar(bounds: Bounds) -> Schema:
    return {
        "anyOf": [
            bounded({"type": name}, bounds)
            for name in ("string", "integer", "number", "boolean", "null")
        ]
    }
