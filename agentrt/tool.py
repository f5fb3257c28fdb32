"""Tools: typed functions that a model may call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, overload

from agentrt.errors import DefinitionError
from agentrt.retry import Retry
from agentrt.schema import Schema, bounded
from agentrt.signature import Signature, describe_function, first_paragraph, read_signature

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_OUTPUT_LIMIT = 4_000

#: "read": a call may be repeated unnoticed. "write": it changes something outside.
Effect = Literal["read", "write"]

#: What OpenAI-compatible engines accept as the name of a function.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call, with the limits of one call.

    Attributes:
        name: what the model calls it.
        description: what the model is told about it.
        function: the function itself, sync or async; call this one in unit tests.
        timeout: seconds per attempt, or None for no limit.
        total_timeout: seconds for all attempts and the pauses between them.
        heartbeat_timeout: seconds that an attempt may go without `ctx.heartbeat()`.
        retry: when a failed attempt is followed by another; None: never.
        concurrency: calls at once, over all programs of a runtime; None for no limit.
        effect: "write" if a call changes something that outlives the program.
        output_limit: characters of the result that the model is shown.
        signature: its parameters.
        call_schema: bounded JSON schema of the arguments, for constrained decoding.
    """

    name: str
    description: str
    function: Callable[..., Any]
    timeout: float | None
    total_timeout: float | None
    heartbeat_timeout: float | None
    retry: Retry | None
    concurrency: int | None
    effect: Effect
    output_limit: int
    signature: Signature
    call_schema: Schema

    @property
    def is_repeatable(self) -> bool:
        """Whether a call that a crash interrupted may be made again."""
        return self.effect == "read" or self.signature.key_parameter is not None

    @property
    def is_async(self) -> bool:
        """Whether the function is awaited; otherwise it runs in a thread."""
        return inspect.iscoroutinefunction(self.function)

    def description_for_model(self) -> dict[str, Any]:
        """The tool as an entry of the `tools` field of a chat request."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.signature.schema,
            },
        }


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = None,
    timeout: float | None = DEFAULT_TIMEOUT_S,
    total_timeout: float | None = None,
    heartbeat_timeout: float | None = None,
    retry: Retry | None = None,
    concurrency: int | None = None,
    effect: Effect = "read",
    output_limit: int = DEFAULT_OUTPUT_LIMIT,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = DEFAULT_TIMEOUT_S,
    total_timeout: float | None = None,
    heartbeat_timeout: float | None = None,
    retry: Retry | None = None,
    concurrency: int | None = None,
    effect: Effect = "read",
    output_limit: int = DEFAULT_OUTPUT_LIMIT,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a typed function callable by a model.

    The first paragraph of the docstring describes the tool, its `Args` section the parameters.
    A parameter annotated `Context` or `IdempotencyKey` is filled in by the runtime and hidden from
    the model.
    An async function is cancelled when its time is up. A sync one runs in a thread, which
    cannot be stopped: it is abandoned, and its result dropped.

    Args:
        name: what the model calls it; the name of the function by default.
        timeout: seconds per attempt, or None for no limit.
        total_timeout: seconds for all attempts and the pauses between them.
        heartbeat_timeout: seconds that an attempt may go without `ctx.heartbeat()`.
        retry: when a failed attempt is followed by another; never by default.
        concurrency: calls at once, over all programs of a runtime; no limit by default.
        effect: "write" if a call changes something that outlives the program. One that a crash
            interrupted is not made again, unless the tool takes an `IdempotencyKey`.
        output_limit: characters of the result that the model is shown; the rest is cut.

    Raises:
        DefinitionError: the function has no docstring, or a parameter that JSON cannot express.
    """

    def make(function: Callable[..., Any]) -> Tool:
        where = describe_function(function)
        if not function.__doc__:
            raise DefinitionError(
                f"{where}: a tool needs a docstring, it is what the model is told about it"
            )
        tool_name = name or function.__name__
        if not _NAME.fullmatch(tool_name):
            raise DefinitionError(
                f"{where}: {tool_name!r} is not usable as the name of a tool: "
                "expected 1 to 64 letters, digits, '_' or '-'"
            )
        for limit, seconds in (
            ("timeout", timeout),
            ("total_timeout", total_timeout),
            ("heartbeat_timeout", heartbeat_timeout),
        ):
            if seconds is not None and not seconds > 0:
                raise DefinitionError(
                    f"{where}: {limit}={seconds} s; expected more than 0, or None"
                )
        for limit, number in (("output_limit", output_limit), ("concurrency", concurrency)):
            if number is not None and number < 1:
                raise DefinitionError(f"{where}: {limit}={number}; expected at least 1")
        if effect not in get_args(Effect):
            raise DefinitionError(f'{where}: effect={effect!r}; expected "read" or "write"')
        signature = read_signature(function)
        return Tool(
            name=tool_name,
            description=first_paragraph(function.__doc__),
            function=function,
            timeout=timeout,
            total_timeout=total_timeout,
            heartbeat_timeout=heartbeat_timeout,
            retry=retry,
            concurrency=concurrency,
            effect=effect,
            output_limit=output_limit,
            signature=signature,
            call_schema=bounded(signature.schema),
        )

    return make if function is None else make(function)


def check_tools(where: str, tools: Sequence[Any]) -> None:
    """Accept a list of tools with distinct names, or say what is wrong with it.

    Raises:
        DefinitionError: an entry is not a `Tool`, or two have the same name.
    """
    names: set[str] = set()
    for entry in tools:
        if not isinstance(entry, Tool):
            raise DefinitionError(
                f"{where}: {entry!r} in tools is not a tool",
                hint="decorate the function with @tool",
            )
        if entry.name in names:
            raise DefinitionError(f"{where}: two tools are named {entry.name!r}")
        names.add(entry.name)
