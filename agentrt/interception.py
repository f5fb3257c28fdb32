"""The one point that every tool call passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pydantic_core
from pydantic import ValidationError

from agentrt.attempts import Attempts, TimedOut
from agentrt.call_signature import call_signature
from agentrt.chat import Message
from agentrt.engine_hints import EngineHints
from agentrt.errors import EngineError
from agentrt.journal import ProgramJournal
from agentrt.journal.events import ToolEnded
from agentrt.journal.values import unpack
from agentrt.program import Clock, Program, ToolCall, ToolOutcome
from agentrt.secrets import Secrets
from agentrt.spans import Spans
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
        signature: of the arguments.
    """

    call_id: str
    text: str = ""
    value: Any = None
    outcome: ToolOutcome = ToolOutcome.CANCELLED
    waited_s: float = 0.0
    attempts: int = 0
    signature: str = ""

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
        journal: of the program.
    """

    def __init__(
        self,
        clock: Clock,
        spans: Spans,
        hints: EngineHints,
        slots: ToolSlots,
        secrets: Secrets,
        journal: ProgramJournal,
    ) -> None:
        self._clock = clock
        self._spans = spans
        self._hints = hints
        self._slots = slots
        self._secrets = secrets
        self._journal = journal

    def recall(
        self,
        program: Program,
        tool: Tool | None,
        name: str,
        arguments: dict[str, Any],
        *,
        needs_value: bool,
    ) -> ToolResult | None:
        """What a call gave before a crash; None if it is to be made.

        A call that may have changed something, and of which that is not known, is not made again:
        its outcome is unknown.

        Args:
            needs_value: the text that the model was shown is not enough.
        """
        key = self._journal.call_key(program, name, arguments)
        past = self._journal.past.take_call(key)
        if past is not None and (result := _recalled(past, tool, needs_value=needs_value)):
            program.begin_tool(name, past.call_id, arguments)
            signature = self._signature(arguments)
            program.end_tool(replace(self._journal.as_call(past), signature=signature))
            return result
        if tool is None or tool.is_repeatable:
            return None
        if past is not None:
            text = f"{name} finished, but what it returned could not be kept."
            return self._unknown(program, key, name, arguments, past.call_id, text)
        intent = self._journal.past.take_intent(key)
        if intent is None:
            return None
        text = (
            f"{name} had begun when the program was interrupted. Whether it took effect is not "
            "known: find out before calling it again."
        )
        return self._unknown(program, key, name, arguments, intent.call_id, text)

    def _signature(self, arguments: dict[str, Any]) -> str:
        return self._secrets.mask(call_signature(arguments))

    def _unknown(
        self,
        program: Program,
        key: str,
        name: str,
        arguments: dict[str, Any],
        call_id: str,
        text: str,
    ) -> ToolResult:
        result = ToolResult(call_id, text=text, outcome=ToolOutcome.UNKNOWN)
        program.begin_tool(name, call_id, arguments)
        self._journal.call_ended(
            key, call_id, self._end(program, name, self._clock(), result), text
        )
        return result

    async def call(
        self,
        context: Context[Any],
        tools: Mapping[str, Tool],
        name: str,
        arguments: dict[str, Any],
        *,
        keeps_value: bool,
    ) -> ToolResult:
        """Call a tool for a program, and record the call on the program's last turn.

        Args:
            context: given to the tool if it asks for it.
            tools: what may be called now, by name.
            name: what was asked for.
            arguments: as the model or the agent wrote them.
            keeps_value: a program that is resumed will need what the tool returns.

        Raises:
            EngineError: the tool itself used the engine, and that failed.
        """
        program = context.program
        tool = tools.get(name)
        started = self._clock()
        key = self._journal.call_key(program, name, arguments)
        # With an idempotency key, the one of a call that a crash interrupted.
        intent = self._journal.past.take_intent(key)
        call_id = intent.call_id if intent else f"call_{uuid4().hex}"
        result = ToolResult(call_id, signature=self._signature(arguments))
        known = tool.name if tool else "unknown"
        with self._spans.tool(
            program,
            result,
            name=known,
            description=tool.description if tool else "",
            arguments=arguments,
        ) as operation:
            program.begin_tool(name, call_id, arguments)
            try:
                operation.hinted(await self._hints.tool_started(known, call_id, result.signature))
                if tool is None:
                    result.text = (
                        f"there is no tool {excerpt(name, 64)}; the tools are {', '.join(tools)}"
                    )
                    result.outcome = ToolOutcome.REJECTED
                else:
                    await self._checked(context, tool, arguments, result, key)
            except EngineError as error:
                result.text, result.outcome = str(error), ToolOutcome.FAILED
                self._end(program, name, started, result)
                raise
            except BaseException:
                self._end(program, name, started, result)
                raise
            # Before anything is awaited: what is known now must not be lost.
            ended = self._end(program, name, started, result)
            kept = None
            if keeps_value and tool is not None and result.outcome is ToolOutcome.FINISHED:
                kept = self._journal.packed(result.value, tool.signature.returns)
            self._journal.call_ended(key, call_id, ended, result.text, kept)
            await self._hints.tool_finished(known, call_id, result.outcome)
        return result

    def _end(self, program: Program, name: str, started: float, result: ToolResult) -> ToolCall:
        """Record a call that is over."""
        call = ToolCall(
            name=name,
            started=started,
            ended=self._clock(),
            outcome=result.outcome,
            error="" if result.outcome is ToolOutcome.FINISHED else result.text,
            waited_s=result.waited_s,
            attempts=result.attempts,
            signature=result.signature,
            call_id=result.call_id,
        )
        program.end_tool(call)
        return call

    async def _checked(
        self,
        context: Context[Any],
        tool: Tool,
        arguments: dict[str, Any],
        result: ToolResult,
        key: str,
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
        if tool.signature.key_parameter is not None:
            keywords[tool.signature.key_parameter] = result.call_id
        text = await self._run(tool, keywords, result, key)
        # Masked before it is cut: half a secret would not be found.
        result.text = cut(self._secrets.mask(text), tool.output_limit)

    async def _run(self, tool: Tool, keywords: dict[str, Any], result: ToolResult, key: str) -> str:
        waits_from = self._clock()
        async with self._slots.slot(tool):
            result.waited_s = self._clock() - waits_from
            if tool.effect == "write":
                self._journal.call_begins(key, result.call_id, tool.name)
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


def _recalled(past: ToolEnded, tool: Tool | None, *, needs_value: bool) -> ToolResult | None:
    """A recorded result; None where more is needed than was kept."""
    result = ToolResult(
        past.call_id,
        text=past.text,
        outcome=past.outcome,
        waited_s=past.waited_s,
        attempts=past.attempts,
    )
    if not needs_value or past.outcome is not ToolOutcome.FINISHED:
        return result
    if past.value is None or tool is None:
        return None
    try:
        result.value = unpack(past.value, tool.signature.returns)
    except ValueError:  # the tool returns something else now
        return None
    return result


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
