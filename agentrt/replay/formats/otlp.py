"""OTLP JSON with spans of the GenAI conventions or of OpenInference.

`resourceSpans[].scopeSpans[].spans[]`, as one document or one export per line. A span of a model
request is a turn, one of a tool a tool call. A program is a `gen_ai.conversation.id`
(OpenInference: `session.id`), else the nearest agent span, else the trace id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.contents import TraceContents
from agentrt.replay.formats.decoding import bad_value, decode
from agentrt.replay.formats.observed import (
    UNNAMED_TOOL,
    ObservedProgram,
    ObservedTurn,
    join_children,
    overlap_notes,
    records,
)
from agentrt.replay.formats.source import Opening, TraceSource
from agentrt.replay.formats.validation import counted
from agentrt_engine.wire import telemetry
from agentrt_engine.wire.trace import ToolRecord

_NS = 1e-9
_AGENT = "agent"
_MODEL_OPERATIONS = {telemetry.CHAT, "text_completion", "generate_content"}
_KIND = "openinference.span.kind"
_PROGRAM = (telemetry.CONVERSATION_ID, "session.id")
_INPUT = (telemetry.USAGE_INPUT_TOKENS, "llm.token_count.prompt", "gen_ai.usage.prompt_tokens")
_OUTPUT = (
    telemetry.USAGE_OUTPUT_TOKENS,
    "llm.token_count.completion",
    "gen_ai.usage.completion_tokens",
)
_CACHED = (telemetry.USAGE_CACHE_READ_TOKENS, "llm.token_count.prompt_details.cache_read")
_TOOL_NAME = (telemetry.TOOL_NAME, "tool.name")
_AGENT_NAME = (telemetry.AGENT_NAME, "agent.name")
_READ = {*_PROGRAM, *_INPUT, *_OUTPUT, *_CACHED, *_TOOL_NAME, *_AGENT_NAME, _KIND}
_READ.add(telemetry.OPERATION_NAME)


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: str | int | None = None
    double_value: float | None = None


class _Attribute(msgspec.Struct):
    key: str
    value: _Value = msgspec.field(default_factory=_Value)


class _SpanJson(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    start_time_unix_nano: str | int
    end_time_unix_nano: str | int
    name: str = ""
    parent_span_id: str = ""
    attributes: list[_Attribute] = []


class _Scope(msgspec.Struct):
    spans: list[_SpanJson] = []


class _Resource(msgspec.Struct, rename="camel"):
    scope_spans: list[_Scope] = []


class _Export(msgspec.Struct, rename="camel"):
    resource_spans: list[_Resource] = []


_EXPORT = msgspec.json.Decoder(_Export)


@dataclass(frozen=True, slots=True)
class _Span:
    """A span with the attributes that matter here."""

    place: str
    trace: str
    span: str
    parent: str
    name: str
    start_s: float
    end_s: float
    attributes: dict[str, str | int | float]

    @property
    def kind(self) -> str:
        """`model`, `tool`, `agent` or something else."""
        operation = self.attributes.get(telemetry.OPERATION_NAME)
        if operation is None:
            return _OPENINFERENCE_KINDS.get(str(self.attributes.get(_KIND, "")), "")
        if operation in _MODEL_OPERATIONS:
            return "model"
        return _GENAI_KINDS.get(str(operation), "")

    def first(self, keys: tuple[str, ...]) -> str | int | float | None:
        """The first of these attributes that is there."""
        return next((self.attributes[key] for key in keys if key in self.attributes), None)

    def tokens(self, keys: tuple[str, ...]) -> int | None:
        """A number of tokens.

        Raises:
            TraceError: it is not one.
        """
        value = self.first(keys)
        if value is None:
            return None
        if not isinstance(value, int) or value < 0:
            raise bad_value(f"{self.place}, span {self.span}", keys[0], value, "a number of tokens")
        return value


_GENAI_KINDS = {telemetry.INVOKE_AGENT: "agent", telemetry.EXECUTE_TOOL: "tool"}
_OPENINFERENCE_KINDS = {"LLM": "model", "TOOL": "tool", "AGENT": "agent"}


def looks_like_otlp(opening: Opening) -> bool:
    """An export of spans."""
    return "resourceSpans" in opening.first


def read_otlp(source: TraceSource) -> TraceContents:
    """Model spans are turns of their conversation, agent or trace; tool spans their tools."""
    spans = {
        (span.trace, span.span): span
        for place, document in source.documents()
        for span in _spans(decode(_EXPORT, document, place), place)
    }
    tree = _Tree(spans)
    programs: dict[str, ObservedProgram] = {}
    uncounted = 0
    ordered = sorted(spans.values(), key=lambda span: span.start_s)
    for span in ordered:
        if span.kind == "model":
            turn = _turn(span)
            if turn is None:
                uncounted += 1
                continue
            name, agent = tree.program_of(span)
            programs.setdefault(name, ObservedProgram(name, agent)).turns.append(turn)
    if not programs:
        raise TraceError(
            f"{source.place()} holds no span of a model request with token counts",
            hint=f"expected {telemetry.OPERATION_NAME} and {telemetry.USAGE_INPUT_TOKENS}, or "
            f"{_KIND} LLM and {_INPUT[1]}",
        )
    for span in ordered:
        if span.kind == "tool":
            _add_tool(span, programs.get(tree.program_of(span)[0]))
    for name, parent in tree.parents.items():
        if name in programs and parent in programs:
            join_children(programs[parent], programs[name], slack_s=0.0)
    text = counted(uncounted, "model span")
    notes = [f"{text} without token counts left out"] if uncounted else []
    found = list(programs.values())
    return TraceContents(records(found), notes=notes + overlap_notes(found))


class _Tree:
    """Which program a span belongs to."""

    def __init__(self, spans: dict[tuple[str, str], _Span]) -> None:
        self._spans = spans
        #: Programs that are agent spans below another program.
        self.parents: dict[str, str] = {}

    def program_of(self, span: _Span) -> tuple[str, str]:
        """Id and agent of the program of a span."""
        at: _Span | None = span
        agent = None
        while at is not None:
            agent = agent or at.first(_AGENT_NAME)
            conversation = at.first(_PROGRAM)
            if conversation is not None:
                return str(conversation), str(agent or _AGENT)
            if at.kind == "agent":
                above = self._spans.get((at.trace, at.parent))
                if above is not None:
                    self.parents[at.span] = self.program_of(above)[0]
                return at.span, str(agent or at.name or _AGENT)
            at = self._spans.get((at.trace, at.parent))
        return span.trace, str(agent or _AGENT)


def _spans(export: _Export, place: str) -> Iterator[_Span]:
    for resource in export.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _Span(
                    place,
                    span.trace_id,
                    span.span_id,
                    span.parent_span_id,
                    span.name,
                    _time(span.start_time_unix_nano, place, span.span_id, "startTimeUnixNano"),
                    _time(span.end_time_unix_nano, place, span.span_id, "endTimeUnixNano"),
                    {
                        attribute.key: value
                        for attribute in span.attributes
                        if attribute.key in _READ and (value := _plain(attribute.value)) is not None
                    },
                )


def _time(value: str | int, place: str, span: str, field: str) -> float:
    # OTLP JSON writes 64-bit numbers as strings.
    try:
        return int(value) * _NS
    except ValueError:
        raise bad_value(f"{place}, span {span}", field, value, "nanoseconds") from None


def _plain(value: _Value) -> str | int | float | None:
    if value.int_value is not None:
        try:
            return int(value.int_value)
        except ValueError:
            return str(value.int_value)
    if value.double_value is not None:
        whole = value.double_value.is_integer()
        return int(value.double_value) if whole else value.double_value
    return value.string_value


def _turn(span: _Span) -> ObservedTurn | None:
    prompt, output = span.tokens(_INPUT), span.tokens(_OUTPUT)
    if not prompt or output is None:
        return None
    end = max(span.start_s, span.end_s)
    return ObservedTurn(prompt, output, span.start_s, end, cached_tokens=span.tokens(_CACHED))


def _add_tool(span: _Span, program: ObservedProgram | None) -> None:
    """Give a tool call to the last turn that began before it."""
    if program is None:
        return
    before = [turn for turn in program.turns if (turn.start_s or 0.0) <= span.start_s]
    if before:
        name = str(span.first(_TOOL_NAME) or UNNAMED_TOOL)
        before[-1].tools.append(ToolRecord(name, round(max(0.0, span.end_s - span.start_s), 6)))
