"""OpenTelemetry spans of a run: names, parents, attributes, and no content."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from agentrt import Agent, Context, agent, connect, tool
from agentrt.errors import EngineLost
from tests.support.scripted_engine import INFO, ScriptedEngine, answer, call, dies, says

SECRET = "xyzzy"


@tool
async def lookup(word: str) -> str:
    """Look a word up."""
    if word == "bad":
        raise ValueError(SECRET)
    return SECRET


@agent(tools=[lookup], max_tokens=64, temperature=0.5)
async def reader(ctx: Context) -> str:
    """You know xyzzy."""
    return await ctx.loop(SECRET)


def spans_of(engine: ScriptedEngine, program: Agent[[], str]) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def main() -> None:
        async with connect(engine.url, tracer_provider=provider) as runtime:
            await runtime.run(program)

    try:
        anyio.run(main)
    finally:
        provider.shutdown()
    return list(exporter.get_finished_spans())


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_is_a_tree_of_named_spans() -> None:
    first = says(
        '{"name": "lookup", "arguments": {"word": "x"}}',
        input_tokens=50,
        output_tokens=9,
        cached_tokens=40,
        queue_s=0.25,
    )
    with ScriptedEngine([first, answer("done")], info=INFO) as engine:
        chat, used, last_chat, program = spans_of(engine, reader)
    assert [s.name for s in (program, chat, used, last_chat)] == [
        "invoke_agent reader",
        "chat scripted",
        "execute_tool lookup",
        "chat scripted",
    ]
    assert program.parent is None
    for child in (chat, used, last_chat):
        assert child.parent is not None
        assert program.context is not None
        assert child.parent.span_id == program.context.span_id
    assert (program.kind, chat.kind, used.kind) == (
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
        SpanKind.INTERNAL,
    )
    program_id = attributes(program)["agentrt.program.id"]
    common = {
        "gen_ai.agent.name": "reader",
        "gen_ai.conversation.id": program_id,
        "agentrt.program.id": program_id,
    }
    assert attributes(program) == common | {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "sglang",
        "gen_ai.request.model": "scripted",
        "agentrt.program.state": "finished",
    }
    assert attributes(chat) == common | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "sglang",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": "response-1",
        "gen_ai.response.model": "scripted",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "agentrt.queue.wait_s": 0.25,
    }
    tool_attributes = attributes(used)
    assert tool_attributes.pop("gen_ai.tool.call.id").startswith("call_")
    assert tool_attributes == common | {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Look a word up.",
    }


def test_requests_carry_the_trace_of_their_chat_span() -> None:
    with ScriptedEngine([answer("done")]) as engine:
        chat, _program = spans_of(engine, reader)
    assert chat.context is not None
    _version, trace_id, span_id, _flags = engine.requests[0].headers["traceparent"].split("-")
    assert (int(trace_id, 16), int(span_id, 16)) == (chat.context.trace_id, chat.context.span_id)


def test_a_failed_tool_marks_its_span_but_not_the_program() -> None:
    with ScriptedEngine([call("lookup", word="bad"), answer("done")]) as engine:
        _chat, used, _last_chat, program = spans_of(engine, reader)
    assert attributes(used)["error.type"] == "failed"
    assert used.status.status_code is StatusCode.ERROR
    assert program.status.status_code is StatusCode.UNSET


def test_a_tool_the_model_made_up_gets_no_span_name_of_its_own() -> None:
    with ScriptedEngine([call(SECRET), answer("done")]) as engine:
        _chat, used, _last_chat, _program = spans_of(engine, reader)
    assert used.name == "execute_tool unknown"
    assert attributes(used)["error.type"] == "rejected"


def test_a_lost_engine_marks_the_request_and_the_program() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def main(url: str) -> None:
        async with connect(url, tracer_provider=provider) as runtime:
            with pytest.raises(EngineLost):
                await runtime.run(reader)

    with ScriptedEngine([dies()]) as engine:
        anyio.run(main, engine.url)
    provider.shutdown()
    chat, program = exporter.get_finished_spans()
    assert attributes(chat)["error.type"] == "EngineLost"
    assert attributes(program)["error.type"] == "EngineLost"
    assert attributes(program)["agentrt.program.state"] == "failed"
    assert program.status.status_code is StatusCode.ERROR


def test_no_span_holds_content() -> None:
    steps = [call("lookup", word="x"), call("lookup", word="bad"), answer(SECRET)]
    with ScriptedEngine(steps) as engine:
        spans = spans_of(engine, reader)
    assert all(SECRET not in span.to_json() for span in spans)
