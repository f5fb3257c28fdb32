"""OpenTelemetry spans of workflows, programs, model requests and tool calls, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer
from opentelemetry.util.types import AttributeValue

from agentrt.chat import ChatReply, ChatRequest
from agentrt.content import Content
from agentrt.endpoint import Endpoint
from agentrt.metrics import Metrics
from agentrt.program import Clock, Program, ToolOutcome
from agentrt.version import __version__
from agentrt_engine.wire import telemetry
from agentrt_engine.wire.hints import HintOutcome

if TYPE_CHECKING:
    from agentrt.interception import ToolResult

#: What is known of an attribute; None: nothing.
Attributes = Mapping[str, AttributeValue | None]


class Operation:
    """What a span stands for, while it is under way.

    Attributes:
        span: where its attributes go.
        error_type: how it failed, in a word; None if it did not.
        reply: of a model request, once it is there.
        first_chunk_s: from a model request to the first piece of a reply that is streamed, seconds.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.error_type: str | None = None
        self.reply: ChatReply | None = None
        self.first_chunk_s: float | None = None

    def learned(self, attributes: Attributes) -> None:
        """Put what is known on the span."""
        self.span.set_attributes(_known(attributes))

    def hinted(self, hint: HintOutcome | None) -> None:
        """The engine answered to the hint that a tool has started; None: it did not."""
        if hint is None:
            return
        pause_s = hint.pause_s or {}
        self.learned(
            {
                telemetry.KV_OUTCOME: hint.outcome.value,
                telemetry.KV_TTL_S: hint.ttl_s,
                telemetry.KV_PINNED_TOKENS: hint.held_tokens,
                telemetry.TOOL_PREDICTED_P50_S: pause_s.get("0.5"),
                telemetry.TOOL_PREDICTED_P95_S: pause_s.get("0.95"),
            }
        )

    def failed(self, error_type: str) -> None:
        """It failed; a message would quote prompts and results."""
        self.error_type = error_type
        self.span.set_attribute(telemetry.ERROR_TYPE, error_type)
        self.span.set_status(StatusCode.ERROR)


class Spans:
    """Opens the spans of one runtime and measures what happens in them.

    Args:
        endpoint: the engine that answers.
        metrics: where durations and counts go.
        clock: seconds, for durations.
        opened: when the runtime was opened, on the clock; arrivals count from there.
        provider: where spans go; None is the application's global provider.
        content: how prompts, replies, arguments and results are shown; None: not at all.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        metrics: Metrics,
        clock: Clock,
        opened: float,
        *,
        provider: TracerProvider | None = None,
        content: Content | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._metrics = metrics
        self._clock = clock
        self._content = content
        self._opened = opened
        self._tracer = get_tracer("agentrt", __version__, provider)

    def workflow(self, name: str) -> AbstractContextManager[Operation]:
        """Span around programs that belong together."""

        def ended(workflow: Operation, seconds: float) -> None:
            self._metrics.workflow(name, seconds, workflow.error_type)

        attributes = {telemetry.WORKFLOW_NAME: name}
        return self._open(telemetry.INVOKE_WORKFLOW, name, SpanKind.INTERNAL, attributes, ended)

    def agent(self, program: Program, description: str) -> AbstractContextManager[Operation]:
        """Span of one program.

        Args:
            description: of the agent, which is content.
        """

        def ended(agent: Operation, seconds: float) -> None:
            agent.learned({telemetry.PROGRAM_STATE: program.state.value})
            self._metrics.agent(program, model, seconds, agent.error_type)

        content, model = self._content, self._endpoint.model_of(program.adapter)
        # One that was resumed began before its runtime.
        arrival = max(0.0, (program.started or 0.0) - self._opened)
        attributes: Attributes = _identity(program) | {
            telemetry.PROVIDER_NAME: self._endpoint.provider,
            telemetry.REQUEST_MODEL: model,
            telemetry.PROGRAM_ARRIVAL: arrival,
            telemetry.AGENT_DESCRIPTION: content.text(description) if content else None,
        }
        return self._open(
            telemetry.INVOKE_AGENT, program.agent, SpanKind.INTERNAL, attributes, ended
        )

    def chat(
        self, program: Program, request: ChatRequest, *, held_tokens: int | None, streams: bool
    ) -> AbstractContextManager[Operation]:
        """Span of one model request; whoever opens it adds the reply.

        Args:
            held_tokens: of the prompt that were in the KV cache after the previous turn; None: it
                goes on from none.
            streams: the reply comes piece by piece.
        """
        content, model = self._content, self._endpoint.model_of(request.adapter)

        def ended(chat: Operation, seconds: float) -> None:
            self._metrics.inference(program, self._endpoint, seconds, chat.reply, chat.error_type)
            if chat.first_chunk_s is not None:
                self._metrics.first_chunk(program, self._endpoint, chat.first_chunk_s)
                chat.learned({telemetry.RESPONSE_FIRST_CHUNK_S: chat.first_chunk_s})
            if chat.reply is not None:
                chat.learned(_reply_attributes(chat.reply, held_tokens))
                if content is not None:
                    chat.learned({telemetry.OUTPUT_MESSAGES: content.reply(chat.reply)})

        attributes: Attributes = _identity(program) | {
            telemetry.PROVIDER_NAME: self._endpoint.provider,
            telemetry.REQUEST_MODEL: model,
            telemetry.REQUEST_STREAM: streams or None,
            telemetry.REQUEST_MAX_TOKENS: request.max_tokens,
            telemetry.REQUEST_TEMPERATURE: request.temperature,
            telemetry.REQUEST_SEED: request.seed,
            telemetry.INPUT_MESSAGES: content.messages(request.messages) if content else None,
        }
        return self._open(telemetry.CHAT, model, SpanKind.CLIENT, attributes, ended)

    def tool(
        self,
        program: Program,
        result: ToolResult,
        *,
        name: str,
        description: str,
        arguments: Mapping[str, Any],
    ) -> AbstractContextManager[Operation]:
        """Span of one tool call.

        Args:
            result: of the call, complete when the span ends.
        """
        content = self._content

        def ended(call: Operation, seconds: float) -> None:
            if call.error_type is None and result.outcome is not ToolOutcome.FINISHED:
                call.failed(result.outcome.value)
            if content is not None:
                call.learned({telemetry.TOOL_CALL_RESULT: content.text(result.text) or None})
            self._metrics.tool(program, name, seconds, call.error_type)

        attributes: Attributes = _identity(program) | {
            telemetry.TOOL_NAME: name,
            telemetry.TOOL_TYPE: "function",
            telemetry.TOOL_DESCRIPTION: description,
            telemetry.TOOL_CALL_ID: result.call_id,
            telemetry.TOOL_CALL_ARGUMENTS: content.arguments(arguments) if content else None,
        }
        return self._open(telemetry.EXECUTE_TOOL, name, SpanKind.INTERNAL, attributes, ended)

    @contextmanager
    def _open(
        self,
        operation: str,
        target: str,
        kind: SpanKind,
        attributes: Attributes,
        ended: Callable[[Operation, float], None],
    ) -> Iterator[Operation]:
        started = self._clock()
        # Exceptions are not recorded as events: their messages quote prompts and results.
        with self._tracer.start_as_current_span(
            f"{operation} {target}",
            kind=kind,
            attributes=_known({telemetry.OPERATION_NAME: operation, **attributes}),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            current = Operation(span)
            try:
                yield current
            except BaseException as error:
                current.failed(_error_type(error))
                raise
            finally:
                ended(current, self._clock() - started)


def _known(attributes: Attributes) -> dict[str, AttributeValue]:
    return {key: value for key, value in attributes.items() if value is not None}


def _identity(program: Program) -> dict[str, AttributeValue | None]:
    return {
        telemetry.AGENT_NAME: program.agent,
        telemetry.CONVERSATION_ID: program.program_id,
        telemetry.PROGRAM_ID: program.program_id,
        telemetry.PROGRAM_PARENT_ID: program.parent.program_id if program.parent else None,
    }


def _reply_attributes(reply: ChatReply, held_tokens: int | None) -> Attributes:
    cached = reply.cached_tokens
    recomputed = None
    if cached is not None and held_tokens is not None:
        recomputed = max(0, min(held_tokens, reply.input_tokens) - cached)
    return {
        telemetry.RESPONSE_ID: reply.response_id or None,
        telemetry.RESPONSE_MODEL: reply.model or None,
        telemetry.RESPONSE_FINISH_REASONS: [reply.finish_reason] if reply.finish_reason else None,
        telemetry.USAGE_INPUT_TOKENS: reply.input_tokens,
        telemetry.USAGE_OUTPUT_TOKENS: reply.output_tokens,
        telemetry.USAGE_CACHE_READ_TOKENS: cached,
        telemetry.USAGE_REASONING_TOKENS: reply.reasoning_tokens,
        telemetry.KV_HIT_TOKENS: cached,
        telemetry.KV_RECOMPUTED_TOKENS: recomputed,
        telemetry.QUEUE_WAIT_S: reply.queue_s,
    }


def _error_type(error: BaseException) -> str:
    """A word for what went wrong."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return ToolOutcome.CANCELLED.value
    return type(error).__qualname__
