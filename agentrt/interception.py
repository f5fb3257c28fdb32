"""The one point that every tool call passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic_core
from pydantic import ValidationError

from agentrt.attempts import Attempts, TimedOut
from agentrt.chat import Message
from agentrt.engine_hints import EngineHints
from agentrt.errors import EngineError
from agentrt.program import Clock, ToolCall, ToolOutcome
from agentrt.secrets import Secrets
from agentrt.spans import Spans, mark_failed
from agentrt.text import cut, excerpt
from agentrt.tool_slots import ToolSlots
from agentrt.validation import explain_errors

if TYPE_CHECKING:
    from agentrt.context import Context
    from agentrt.tool import Tool


@dataclass(slots=True)
class ToolResult:
    """What a tool call gave.

    Attributes:
        call_id: of the call.
        text: what the model is shown: the result, or what went wrong.
        value: what the tool returned.
        outcome: how it ended.
        waited_s: for room among the calls of the tool.
        attempts: that were made.
    """

    call_id: str
    text: str = ""
    value: Any = None
    outcome: ToolOutcome = ToolOutcome.CANCELLED
    waited_s: float = 0.0
    attempts: int = 0

    def message(self, name: str) -> Message:
        """As the model is shown it."""
        return {"role": "tool", "tool_call_id": self.call_id, "name": name, "content": self.text}


class Interception:
    """Checks, limits, times, repeats and records the tool calls of one program.

    A failing tool never ends a program: the model reads what went wrong. Only the loss of the
    engine and cancellation pass through.

    Args:
        slots: of all programs of the runtime.
        secrets: what neither the model nor a record gets to see.
    """

    def __init__(
        self, clock: Clock, spans: Spans, hints: EngineHints, slots: ToolSlots, secrets: Secrets
    ) -> None:
        self._clock = clock
        self._spans = spans
        self._hints = hints
        self._slots = slots
        self._secrets = secrets

    async def call(
        self,
        context: Context[Any],
        tools: Mapping[str, Tool],
        name: str,
        arguments: dict[str, Any],
        *,
        call_id: str,
    ) -> ToolResult:
        """Call a tool for a program, and record the call on the program's last turn.

        Args:
            context: given to the tool if it asks for it.
            tools: what may be called now, by name.
            name: what was asked for.
            arguments: as the model or the agent wrote them.
            call_id: identity of the call, for its span.

        Raises:
            EngineError: the tool itself used the engine, and that failed.
        """
        program = context.program
        tool = tools.get(name)
        started = self._clock()
        result = ToolResult(call_id)
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
                if tool is None:
                    result.text = (
                        f"there is no tool {excerpt(name, 64)}; the tools are {', '.join(tools)}"
                    )
                    result.outcome = ToolOutcome.REJECTED
                else:
                    await self._checked(context, tool, arguments, result)
                await self._hints.tool_finished(known, call_id, result.outcome)
            except EngineError as error:
                result.text, result.outcome = str(error), ToolOutcome.FAILED
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
                        waited_s=result.waited_s,
                        attempts=result.attempts,
                    )
                )
            if not finished:
                mark_failed(span, result.outcome)
        return result

    async def _checked(
        self, context: Context[Any], tool: Tool, arguments: dict[str, Any], result: ToolResult
    ) -> None:
        """Put what a known tool gives into the result."""
        try:
            keywords = tool.signature.validator.validate_python(arguments)
        except ValidationError as error:
            result.text = self._secrets.mask(_explain_arguments(tool, arguments, error))
            result.outcome = ToolOutcome.REJECTED
            return
        if tool.signature.context_parameter is not None:
            keywords[tool.signature.context_parameter] = context
        text = await self._run(tool, keywords, result)
        # Masked before it is cut: half a secret would not be found.
        result.text = cut(self._secrets.mask(text), tool.output_limit)

    async def _run(self, tool: Tool, keywords: dict[str, Any], result: ToolResult) -> str:
        waits_from = self._clock()
        async with self._slots.slot(tool):
            result.waited_s = self._clock() - waits_from
            attempts = Attempts(tool)
            try:
                result.value = await attempts.run(keywords)
                text = _as_text(result.value)
            except EngineError:
                raise
            except TimedOut as error:
                result.outcome = ToolOutcome.TIMED_OUT
                return f"{tool.name} was stopped: {error}{_after(attempts)}"
            except Exception as error:  # noqa: BLE001 - whatever a tool raises the model reads
                result.outcome = ToolOutcome.FAILED
                return f"{tool.name} failed: {type(error).__name__}: {error}{_after(attempts)}"
            finally:
                result.attempts = attempts.made
        result.outcome = ToolOutcome.FINISHED
        return text


def _after(attempts: Attempts) -> str:
    return f" (the last of {attempts.made} attempts)" if attempts.made > 1 else ""


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
