"""Hypothesis strategies for instances of a bounded JSON schema."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from agentrt.schema import Schema

_characters = st.characters(exclude_categories=["Cs"])


def instances(schema: Schema) -> st.SearchStrategy[Any]:
    """JSON values that the schema describes, as Python objects."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([instances(branch) for branch in schema["anyOf"]])
    match schema["type"]:
        case "string":
            return st.text(
                _characters, min_size=schema.get("minLength", 0), max_size=schema["maxLength"]
            )
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            return st.floats(
                schema.get("minimum", schema.get("exclusiveMinimum")),
                schema.get("maximum", schema.get("exclusiveMaximum")),
                exclude_min="exclusiveMinimum" in schema,
                exclude_max="exclusiveMaximum" in schema,
            )
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array" if "prefixItems" in schema:
            return st.tuples(*map(instances, schema["prefixItems"])).map(list)
        case "array":
            return st.lists(
                instances(schema["items"]),
                min_size=schema.get("minItems", 0),
                max_size=schema["maxItems"],
            )
        case "object" if schema["additionalProperties"] is False:
            required = {name: instances(schema["properties"][name]) for name in schema["required"]}
            optional = {
                name: instances(child)
                for name, child in schema["properties"].items()
                if name not in required
            }
            return st.fixed_dictionaries(required, optional=optional)
        case "object":
            return st.dictionaries(
                instances(schema["propertyNames"]),
                instances(schema["additionalProperties"]),
                min_size=schema.get("minProperties", 0),
                max_size=schema["maxProperties"],
            )
    raise AssertionError(schema)
