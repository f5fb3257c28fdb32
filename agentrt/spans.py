"""OpenTelemetry spans of programs, model requests and tool calls. Content is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer
from opentelemetry.util.types import AttributeValue

from agentrt.chat import ChatReply, ChatRequest
from agentrt.endpoint import Endpoint
from agentrt.program import Program
from agentrt.version import __version__
from agentrt_engine.wire import telemetry


class Spans:
    """Opens the spans of the programs of one runtime.

    Args:
        endpoint: the engine that answers them.
        provider: where spans go; None is the application's global provider.
    """

    def __init__(self, endpoint: Endpoint, provider: TracerProvider | None = None) -> None:
        self._endpoint = endpoint
        self._tracer = get_tracer("agentrt", __version__, provider)

    @contextmanager
    def agent(self, program: Program) -> Iterator[Span]:
        """Span of one program."""
        attributes: dict[str, AttributeValue] = {
            telemetry.OPERATION_NAME: telemetry.INVOKE_AGENT,
            telemetry.PROVIDER_NAME: self._endpoint.provider,
            telemetry.REQUEST_MODEL: self._endpoint.model,
        }
        name = f"{telemetry.INVOKE_AGENT} {program.agent}"
        with self._open(name, SpanKind.INTERNAL, program, attributes) as span:
            try:
                yield span
            finally:
                span.set_attribute(telemetry.PROGRAM_STATE, program.state)

    @contextmanager
    def chat(self, program: Program, request: ChatRequest) -> Iterator[Span]:
        """Span of one model request."""
        attributes: dict[str, AttributeValue | None] = {
            telemetry.OPERATION_NAME: telemetry.CHAT,
            telemetry.PROVIDER_NAME: self._endpoint.provider,
            telemetry.REQUEST_MODEL: self._endpoint.model,
            telemetry.REQUEST_MAX_TOKENS: request.max_tokens,
            telemetry.REQUEST_TEMPERATURE: request.temperature,
        }
        name = f"{telemetry.CHAT} {self._endpoint.model}"
        with self._open(name, SpanKind.CLIENT, program, attributes) as span:
            yield span

    @contextmanager
    def tool(
        self, program: Program, *, name: str, description: str, call_id: str
    ) -> Iterator[Span]:
        """Span of one tool call."""
        attributes: dict[str, AttributeValue] = {
            telemetry.OPERATION_NAME: telemetry.EXECUTE_TOOL,
            telemetry.TOOL_NAME: name,
            telemetry.TOOL_TYPE: "function",
            telemetry.TOOL_DESCRIPTION: description,
            telemetry.TOOL_CALL_ID: call_id,
        }
        span_name = f"{telemetry.EXECUTE_TOOL} {name}"
        with self._open(span_name, SpanKind.INTERNAL, program, attributes) as span:
            yield span

    @contextmanager
    def _open(
        self,
        name: str,
        kind: SpanKind,
        program: Program,
        attributes: Mapping[str, AttributeValue | None],
    ) -> Iterator[Span]:
        known = {key: value for key, value in attributes.items() if value is not None}
        identity: dict[str, AttributeValue] = {
            telemetry.AGENT_NAME: program.agent,
            telemetry.CONVERSATION_ID: program.program_id,
            telemetry.PROGRAM_ID: program.program_id,
        }
        # Exceptions are not recorded as events: their messages quote prompts and results.
        with self._tracer.start_as_current_span(
            name,
            kind=kind,
            attributes=known | identity,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                mark_failed(span, type(error).__qualname__)
                raise


def set_reply(span: Span, reply: ChatReply) -> None:
    """Put what a model request gave on its span."""
    attributes: dict[str, AttributeValue | None] = {
        telemetry.RESPONSE_ID: reply.response_id or None,
        telemetry.RESPONSE_MODEL: reply.model or None,
        telemetry.RESPONSE_FINISH_REASONS: [reply.finish_reason] if reply.finish_reason else None,
        telemetry.USAGE_INPUT_TOKENS: reply.input_tokens,
        telemetry.USAGE_OUTPUT_TOKENS: reply.output_tokens,
        telemetry.USAGE_CACHE_READ_TOKENS: reply.cached_tokens,
        telemetry.QUEUE_WAIT_S: reply.queue_s,
    }
    span.set_attributes({key: value for key, value in attributes.items() if value is not None})


def mark_failed(span: Span, error_type: str) -> None:
    """Give a span the status of an error of a low-cardinality type."""
    span.set_attribute(telemetry.ERROR_TYPE, error_type)
    span.set_status(StatusCode.ERROR)
