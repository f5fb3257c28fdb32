"""The one point that every tool call passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pydantic_core
from pydantic import ValidationError

from agentrt.abandonable import run_abandonable
from agentrt.engine_hints import EngineHints
from agentrt.errors import EngineError
from agentrt.program import Clock, ToolCall, ToolOutcome
from agentrt.spans import Spans, mark_failed
from agentrt.text import cut, excerpt
from agentrt.validation import explain_errors

if TYPE_CHECKING:
    from agentrt.context import Context
    from agentrt.tool import Tool


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool call gave.

    Attributes:
        text: what the model is shown: the result, or what went wrong.
        outcome: how it ended.
    """

    text: str
    outcome: ToolOutcome


class Interception:
    """Checks, times, limits and records tool calls.

    A failing tool never ends a program: the model reads what went wrong. Only the loss of the
    engine and cancellation pass through.
    """

    def __init__(self, clock: Clock, spans: Spans, hints: EngineHints) -> None:
        self._clock = clock
        self._spans = spans
        self._hints = hints

    async def call(
        self,
        context: Context,
        tools: Mapping[str, Tool],
        name: str,
        arguments: dict[str, Any],
        *,
        call_id: str,
    ) -> ToolResult:
        """Call a tool for a program, and record the call on the program's last turn.

        Args:
            context: given to the tool if it asks for it.
            tools: what the model may call now, by name.
            name: what it asked for.
            arguments: as the model wrote them.
            call_id: identity of the call, for its span.

        Raises:
            EngineError: the tool itself used the engine, and that failed.
        """
        program = context.program
        tool = tools.get(name)
        started = self._clock()
        result = ToolResult("", ToolOutcome.CANCELLED)
        known = tool.name if tool else "unknown"
        with self._spans.tool(
            program,
            name=known,
            description=tool.description if tool else "",
            call_id=call_id,
        ) as span:
            program.begin_tool(name)
            try:
                await self._hints.tool_started(known, call_id)
                result = await _attempt(context, tools, name, arguments)
                await self._hints.tool_finished(known, call_id, result.outcome)
            except EngineError as error:
                result = ToolResult(str(error), ToolOutcome.FAILED)
                raise
            finally:
                finished = result.outcome is ToolOutcome.FINISHED
                program.end_tool(
                    ToolCall(
                        name=name,
                        started=started,
                        ended=self._clock(),
                        outcome=result.outcome,
                        error="" if finished else result.text,
                    )
                )
            if not finished:
                mark_failed(span, result.outcome)
        return result


async def _attempt(
    context: Context, tools: Mapping[str, Tool], name: str, arguments: dict[str, Any]
) -> ToolResult:
    tool = tools.get(name)
    if tool is None:
        return ToolResult(
            f"there is no tool {excerpt(name, 64)}; the tools are {', '.join(tools)}",
            ToolOutcome.REJECTED,
        )
    try:
        keywords = tool.signature.validator.validate_python(arguments)
    except ValidationError as error:
        return ToolResult(_explain_arguments(tool, arguments, error), ToolOutcome.REJECTED)
    if tool.signature.context_parameter is not None:
        keywords[tool.signature.context_parameter] = context
    try:
        with anyio.move_on_after(tool.timeout):
            text = _as_text(await _invoke(tool, keywords))
            return ToolResult(cut(text, tool.output_limit), ToolOutcome.FINISHED)
    except EngineError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a tool raises is for the model to read
        text = f"{name} failed: {type(error).__name__}: {error}"
        return ToolResult(cut(text, tool.output_limit), ToolOutcome.FAILED)
    return ToolResult(
        f"{name} was stopped: it did not finish within {tool.timeout:g} s", ToolOutcome.TIMED_OUT
    )


async def _invoke(tool: Tool, keywords: dict[str, Any]) -> Any:
    if tool.is_async:
        return await tool.function(**keywords)
    return await run_abandonable(partial(tool.function, **keywords), name=f"tool {tool.name}")


def _as_text(value: Any) -> str:
    """Text as it is, anything else as JSON; never empty, since templates drop empty messages."""
    if isinstance(value, str):
        return value or "(no output)"
    if value is None:
        return "(no output)"
    return pydantic_core.to_json(value, fallback=str).decode()


def _explain_arguments(tool: Tool, arguments: dict[str, Any], error: ValidationError) -> str:
    sent = pydantic_core.to_json(arguments, fallback=str).decode()
    expected = json.dumps(tool.signature.schema, ensure_ascii=False)
    return (
        f"the arguments of {tool.name} do not fit: {explain_errors(error)}. "
        f"You sent {cut(sent, 300)}, expected {expected}"
    )
