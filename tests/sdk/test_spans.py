"""OpenTelemetry spans of a run: names, parents, attributes."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from agentrt import Agent, Budget, Context, agent, connect, tool
from agentrt.errors import BudgetExceeded, EngineLost, ProgramCancelled
from agentrt.runtime import Runtime
from agentrt.testing import answer, call, dies, says
from agentrt_engine.wire.hints import HintKind
from tests.support.scripted_engine import INFO, ScriptedEngine
from tests.support.telemetry import attributes, exported


@tool
async def lookup(word: str) -> str:
    """Look a word up."""
    if word == "bad":
        raise ValueError(word)
    return word.upper()


@agent(tools=[lookup], max_tokens=64, temperature=0.5, seed=7)
async def reader(ctx: Context) -> str:
    """You read."""
    return await ctx.loop("read")


@agent
async def parent(ctx: Context) -> str:
    """You delegate."""
    return await ctx.spawn(reader)


def spans_of(
    engine: ScriptedEngine, program: Agent[[], str], fails: type[Exception] | None = None
) -> list[ReadableSpan]:
    async def main() -> None:
        async with connect(engine.url, **telemetry.providers) as runtime:
            if fails is None:
                await runtime.run(program)
            else:
                with pytest.raises(fails):
                    await runtime.run(program)

    with exported() as telemetry:
        anyio.run(main)
        return telemetry.spans


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    identity: int = span.context.span_id
    return identity


def test_a_run_is_a_tree_of_named_spans() -> None:
    first = says(
        '{"name": "lookup", "arguments": {"word": "x"}}',
        input_tokens=50,
        output_tokens=9,
        cached_tokens=40,
        queue_s=0.25,
        reasoning_tokens=3,
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
    assert {parent_id(child) for child in (chat, used, last_chat)} == {span_id(program)}
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
    program_attributes = attributes(program)
    assert 0 <= program_attributes.pop("agentrt.program.arrival") < 5
    assert program_attributes == common | {
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
        "gen_ai.request.seed": 7,
        "gen_ai.response.id": "response-1",
        "gen_ai.response.model": "scripted",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "agentrt.kv.hit_tokens": 40,
        "agentrt.queue.wait_s": 0.25,
    }
    tool_attributes = attributes(used)
    assert tool_attributes.pop("gen_ai.tool.call.id").startswith("call_")
    assert tool_attributes == common | {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "lookup",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Look a word up.",
        "agentrt.kv.outcome": "applied",
    }


def test_a_child_is_a_span_below_its_parent() -> None:
    with ScriptedEngine([answer("done")]) as engine:
        chat, child, above = spans_of(engine, parent)
    assert (child.name, above.name) == ("invoke_agent reader", "invoke_agent parent")
    assert parent_id(child) == span_id(above)
    of_parent = attributes(above)["agentrt.program.id"]
    assert attributes(child)["agentrt.program.parent_id"] == of_parent
    assert attributes(chat)["agentrt.program.parent_id"] == of_parent
    assert "agentrt.program.parent_id" not in attributes(above)


def test_programs_of_a_workflow_are_one_trace() -> None:
    async def main(url: str) -> None:
        async with connect(url, **telemetry.providers) as runtime:
            with runtime.workflow("triage"):
                await runtime.run(reader)
                async with runtime.start(reader) as running:
                    await running

    with ScriptedEngine([answer("a"), answer("b")]) as engine, exported() as telemetry:
        anyio.run(main, engine.url)
    *_, workflow = telemetry.spans
    assert workflow.name == "invoke_workflow triage"
    assert attributes(workflow) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "triage",
    }
    programs = [span for span in telemetry.spans if span.name == "invoke_agent reader"]
    assert [parent_id(program) for program in programs] == [span_id(workflow)] * 2
    assert len({span.context.trace_id for span in telemetry.spans if span.context}) == 1


def test_a_workflow_needs_an_open_runtime() -> None:
    with pytest.raises(RuntimeError, match="not open"), Runtime("http://x").workflow("triage"):
        pass


@pytest.mark.parametrize(("cached", "recomputed"), [(30, 29), (70, 0), (None, None)])
def test_what_the_engine_forgot_between_turns_is_on_the_span(
    cached: int | None, recomputed: int | None
) -> None:
    first = says('{"name": "lookup", "arguments": {"word": "x"}}', input_tokens=50, output_tokens=9)
    last = says('{"answer": "x"}', input_tokens=80, cached_tokens=cached)
    with ScriptedEngine([first, last]) as engine:
        chat, _used, last_chat, _program = spans_of(engine, reader)
    assert "agentrt.kv.recomputed_tokens" not in attributes(chat)
    assert attributes(last_chat).get("agentrt.kv.recomputed_tokens") == recomputed
    assert attributes(last_chat).get("agentrt.kv.hit_tokens") == cached


def test_what_the_engine_grants_and_predicts_is_on_the_span_of_the_tool() -> None:
    terms = {"ttl_s": 12.5, "held_tokens": 300, "pause_s": {"0.5": 2.0, "0.95": 30.0}}
    steps = [call("lookup", word="x"), answer("done")]
    with ScriptedEngine(steps, info=INFO, terms=terms) as engine:
        used = spans_of(engine, reader)[1]
    ours = {key: value for key, value in attributes(used).items() if key.startswith("agentrt.")}
    assert ours == {
        "agentrt.program.id": attributes(used)["gen_ai.conversation.id"],
        "agentrt.kv.outcome": "applied",
        "agentrt.kv.ttl_s": 12.5,
        "agentrt.kv.pinned_tokens": 300,
        "agentrt.tool.predicted_p50_s": 2.0,
        "agentrt.tool.predicted_p95_s": 30.0,
    }


def test_an_answer_to_a_hint_that_is_not_understood_is_passed_over() -> None:
    steps = [call("lookup", word="x"), answer("done")]
    with ScriptedEngine(steps, info=INFO, terms={"ttl_s": "soon"}) as engine:
        used = spans_of(engine, reader)[1]
    assert not [key for key in attributes(used) if key.startswith("agentrt.kv.")]
    assert "error.type" not in attributes(used)


def test_requests_and_hints_carry_their_trace() -> None:
    with ScriptedEngine([call("lookup", word="x"), answer("done")], info=INFO) as engine:
        chat, used, last_chat, _program = spans_of(engine, reader)
    kinds = [hint.kind for hint in engine.hints]
    assert kinds == [HintKind.TOOL_STARTED, HintKind.TOOL_FINISHED, HintKind.ENDED]
    sent = [request.headers for request in engine.requests] + engine.hint_headers[:2]
    for headers, span in zip(sent, [chat, last_chat, used, used], strict=True):
        assert span.context is not None
        _version, trace_id, below, _flags = headers["traceparent"].split("-")
        assert (int(trace_id, 16), int(below, 16)) == (span.context.trace_id, span_id(span))


def test_a_failed_tool_marks_its_span_but_not_the_program() -> None:
    with ScriptedEngine([call("lookup", word="bad"), answer("done")]) as engine:
        _chat, used, _last_chat, program = spans_of(engine, reader)
    assert attributes(used)["error.type"] == "failed"
    assert used.status.status_code is StatusCode.ERROR
    assert program.status.status_code is StatusCode.UNSET


def test_a_tool_the_model_made_up_gets_no_span_name_of_its_own() -> None:
    with ScriptedEngine([call("made_up"), answer("done")]) as engine:
        _chat, used, _last_chat, _program = spans_of(engine, reader)
    assert used.name == "execute_tool unknown"
    assert attributes(used)["error.type"] == "rejected"


def test_a_lost_engine_marks_the_request_and_the_program() -> None:
    with ScriptedEngine([dies()]) as engine:
        chat, program = spans_of(engine, reader, fails=EngineLost)
    assert attributes(chat)["error.type"] == "EngineLost"
    assert attributes(program)["error.type"] == "EngineLost"
    assert attributes(program)["agentrt.program.state"] == "failed"
    assert program.status.status_code is StatusCode.ERROR


def test_a_budget_that_is_spent_marks_the_program() -> None:
    @agent(budget=Budget(turns=1))
    async def thrifty(ctx: Context) -> str:
        """You save."""
        await ctx.say("one")
        return await ctx.say("two")

    with ScriptedEngine([says("x")]) as engine:
        _chat, program = spans_of(engine, thrifty, fails=BudgetExceeded)
    assert attributes(program)["error.type"] == "BudgetExceeded"


def test_what_is_cancelled_says_so() -> None:
    begun = anyio.Event()

    @tool
    async def forever() -> None:
        """Wait."""
        begun.set()
        await anyio.sleep_forever()

    @agent(tools=[forever])
    async def waiter(ctx: Context) -> Any:
        """You wait."""
        return await ctx.loop("wait")

    async def main(url: str) -> None:
        async with (
            connect(url, **telemetry.providers) as runtime,
            runtime.start(waiter) as running,
        ):
            await begun.wait()
            running.cancel()
            with pytest.raises(ProgramCancelled):
                await running

    with ScriptedEngine([call("forever")]) as engine, exported() as telemetry:
        anyio.run(main, engine.url)
    _chat, used, program = telemetry.spans
    assert attributes(used)["error.type"] == "cancelled"
    assert attributes(program)["error.type"] == "cancelled"
    assert attributes(program)["agentrt.program.state"] == "cancelled"
