"""Tools whose arguments are described by a JSON schema that others wrote."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import TypeAdapter

from agentrt import Tool
from agentrt.schema import Schema, bounded
from agentrt.signature import Signature
from agentrt.tool import DEFAULT_OUTPUT_LIMIT, DEFAULT_TIMEOUT_S, Effect


def foreign_tool(
    name: str,
    description: str,
    schema: Schema,
    function: Callable[..., Coroutine[Any, Any, str]],
    *,
    validator: TypeAdapter[dict[str, Any]],
    timeout: float | None = DEFAULT_TIMEOUT_S,
    effect: Effect = "read",
    output_limit: int = DEFAULT_OUTPUT_LIMIT,
) -> Tool:
    """A tool that is no annotated function.

    Args:
        schema: of its arguments, a plain object.
        function: takes them by name.
        validator: which of them it takes.

    Raises:
        DefinitionError: a part of the schema has no bounded form.
    """
    return Tool(
        name=name,
        description=description,
        function=function,
        timeout=timeout,
        total_timeout=None,
        heartbeat_timeout=None,
        retry=None,
        concurrency=None,
        effect=effect,
        output_limit=output_limit,
        signature=Signature(
            context_parameter=None,
            key_parameter=None,
            returns=str,
            answer=str,
            names=tuple(schema["properties"]),
            validator=validator,
            schema=schema,
        ),
        call_schema=bounded({**schema, "additionalProperties": False}),
    )
