"""OpenTelemetry metrics of workflows, programs, model requests and tool calls."""

from __future__ import annotations

from functools import lru_cache

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.util.types import AttributeValue

from agentrt.chat import ChatReply
from agentrt.endpoint import Endpoint
from agentrt.program import Program
from agentrt.version import __version__
from agentrt_engine.wire import telemetry

# Boundaries of buckets as the GenAI conventions advise them, seconds and calls.
_REQUEST_S = [0.01 * 2**n for n in range(14)]
_AGENT_S = [0.1 * 2**n for n in range(13)]
_WORKFLOW_S = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200]
_CALLS = [2**n for n in range(8)]


class Metrics:
    """Instruments of one meter. Attributes are names and kinds, never identities.

    Args:
        provider: where measurements go; None is the application's global provider.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter("agentrt", __version__, provider)
        self._workflow_s = meter.create_histogram(
            telemetry.WORKFLOW_DURATION,
            "s",
            "Time from the first program of a workflow to the end of the last.",
            explicit_bucket_boundaries_advisory=_WORKFLOW_S,
        )
        self._agent_s = meter.create_histogram(
            telemetry.AGENT_DURATION,
            "s",
            "Time from the beginning of a program to its end.",
            explicit_bucket_boundaries_advisory=_AGENT_S,
        )
        self._inference_calls = meter.create_histogram(
            telemetry.AGENT_INFERENCE_CALLS,
            "{inference_call}",
            "Model requests of a program.",
            explicit_bucket_boundaries_advisory=_CALLS,
        )
        self._tool_calls = meter.create_histogram(
            telemetry.AGENT_TOOL_CALLS,
            "{tool_call}",
            "Tool calls of a program.",
            explicit_bucket_boundaries_advisory=_CALLS,
        )
        self._tool_s = meter.create_histogram(
            telemetry.TOOL_DURATION,
            "s",
            "Time from a tool call to its result.",
            explicit_bucket_boundaries_advisory=_REQUEST_S,
        )
        self._inference_s = meter.create_histogram(
            telemetry.INFERENCE_DURATION,
            "s",
            "Time from a model request to its reply, waiting at the engine included.",
            explicit_bucket_boundaries_advisory=_REQUEST_S,
        )
        self._first_chunk_s = meter.create_histogram(
            telemetry.INFERENCE_FIRST_CHUNK,
            "s",
            "Time from a model request to the first piece of a reply that is streamed.",
            explicit_bucket_boundaries_advisory=_REQUEST_S,
        )
        self._input, self._output, self._cache_read, self._reasoning = (
            meter.create_counter(name, "{token}", description)
            for name, description in (
                (telemetry.INFERENCE_INPUT_TOKENS, "Tokens of prompts, cached ones included."),
                (telemetry.INFERENCE_OUTPUT_TOKENS, "Generated tokens, reasoning included."),
                (telemetry.INFERENCE_CACHE_READ_TOKENS, "Tokens of prompts found in the KV cache."),
                (telemetry.INFERENCE_REASONING_TOKENS, "Generated tokens of reasoning."),
            )
        )

    def workflow(self, name: str, seconds: float, error_type: str | None) -> None:
        """A workflow ended."""
        self._workflow_s.record(seconds, _with({telemetry.WORKFLOW_NAME: name}, error_type))

    def agent(self, program: Program, model: str, seconds: float, error_type: str | None) -> None:
        """A program ended."""
        agent: dict[str, AttributeValue] = {telemetry.AGENT_NAME: program.agent}
        self._agent_s.record(seconds, _with(agent | {telemetry.REQUEST_MODEL: model}, error_type))
        self._inference_calls.record(program.turn, agent)
        self._tool_calls.record(len(program.tool_calls), agent)

    def tool(self, program: Program, name: str, seconds: float, error_type: str | None) -> None:
        """A tool call ended."""
        attributes: dict[str, AttributeValue] = {
            telemetry.TOOL_NAME: name,
            telemetry.TOOL_TYPE: "function",
            telemetry.AGENT_NAME: program.agent,
        }
        self._tool_s.record(seconds, _with(attributes, error_type))

    def inference(
        self,
        program: Program,
        endpoint: Endpoint,
        seconds: float,
        reply: ChatReply | None,
        error_type: str | None,
    ) -> None:
        """A model request was answered, or was not."""
        attributes = _request(program, endpoint)
        if reply is not None and reply.model:
            attributes[telemetry.RESPONSE_MODEL] = reply.model
        self._inference_s.record(seconds, _with(attributes, error_type))
        attributes[telemetry.TOKEN_MODALITY] = "unknown" if reply is None else "text"
        self._input.add(reply.input_tokens if reply else 0, attributes)
        self._output.add(reply.output_tokens if reply else 0, attributes)
        if reply is not None and reply.cached_tokens is not None:
            self._cache_read.add(reply.cached_tokens, attributes)
        if reply is not None and reply.reasoning_tokens is not None:
            self._reasoning.add(reply.reasoning_tokens, attributes)

    def first_chunk(self, program: Program, endpoint: Endpoint, seconds: float) -> None:
        """The first piece of a reply that is streamed came."""
        self._first_chunk_s.record(seconds, _request(program, endpoint))


@lru_cache(maxsize=8)
def metrics_for(provider: MeterProvider | None) -> Metrics:
    """The metrics of all runtimes that report to one provider.

    OpenTelemetry keeps each instrument that was made before there is a global provider.
    """
    return Metrics(provider)


def _request(program: Program, endpoint: Endpoint) -> dict[str, AttributeValue]:
    return {
        telemetry.OPERATION_NAME: telemetry.CHAT,
        telemetry.PROVIDER_NAME: endpoint.provider,
        telemetry.REQUEST_MODEL: endpoint.model_of(program.adapter),
        telemetry.AGENT_NAME: program.agent,
    }


def _with(
    attributes: dict[str, AttributeValue], error_type: str | None
) -> dict[str, AttributeValue]:
    return attributes if error_type is None else attributes | {telemetry.ERROR_TYPE: error_type}
