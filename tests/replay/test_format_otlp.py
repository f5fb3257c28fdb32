"""OTLP JSON with GenAI or OpenInference spans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import TraceError
from agentrt.replay.formats.catalog import TraceFormat
from agentrt.replay.trace_file import load_trace
from agentrt_engine.wire.trace import ToolRecord
from tests.replay.trace_files import jsonl, load_jsonl, pauses, sizes


def span(
    name: str, start: float, end: float, parent: str = "", **attributes: Any
) -> dict[str, Any]:
    """A span; attribute names have `__` for a dot."""

    def value(item: Any) -> dict[str, Any]:
        return {"intValue": str(item)} if isinstance(item, int) else {"stringValue": item}

    return {
        "traceId": "t",
        "spanId": name,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(int(start * 1e9)),
        "endTimeUnixNano": str(int(end * 1e9)),
        "attributes": [
            {"key": key.replace("__", "."), "value": value(item)}
            for key, item in attributes.items()
        ],
    }


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": list(spans)}]}]}


def chat(name: str, start: float, end: float, tokens: int, parent: str = "", **more: Any) -> Any:
    return span(
        name,
        start,
        end,
        parent,
        gen_ai__operation__name="chat",
        gen_ai__usage__input_tokens=tokens,
        gen_ai__usage__output_tokens=10,
        **more,
    )


def agent(name: str, start: float, end: float, parent: str = "", **more: Any) -> dict[str, Any]:
    return span(
        name,
        start,
        end,
        parent,
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name="bot",
        **more,
    )


def tool(name: str, start: float, end: float, parent: str = "") -> dict[str, Any]:
    return span(
        name, start, end, parent, gen_ai__operation__name="execute_tool", gen_ai__tool__name="ls"
    )


def test_model_spans_of_an_agent_span_are_its_turns(tmp_path: Path) -> None:
    trace = load_jsonl(
        tmp_path,
        export(
            tool("t1", 3.0, 4.5, "a"),
            chat("c2", 5.0, 6.0, 150, "a"),
            chat("c1", 1.0, 2.5, 100, "a"),
            agent("a", 0.0, 7.0),
        ),
    )
    assert trace.format is TraceFormat.OTLP
    (program,) = trace.programs
    assert (program.program_id, program.agent) == ("a", "bot")
    assert sizes(program) == [(100, 100, 10), (150, 40, 10)]
    assert pauses(program) == [2.5, 0.0]
    assert program.turns[0].tools == (ToolRecord("ls", 1.5),)


def test_spans_may_be_spread_over_lines_and_pretty_printed(tmp_path: Path) -> None:
    spans = [chat("c1", 1.0, 2.5, 100, "a"), agent("a", 0.0, 7.0)]
    lines = jsonl(tmp_path / "lines.jsonl", *(export(one) for one in spans))
    document = tmp_path / "document.json"
    document.write_text(json.dumps(export(*spans), indent=1))
    assert load_trace(lines).programs == load_trace(document).programs


def test_a_conversation_id_joins_spans_of_different_agents_spans(tmp_path: Path) -> None:
    (program,) = load_jsonl(
        tmp_path,
        export(
            agent("a", 0.0, 2.0, gen_ai__conversation__id="conv"),
            chat("c1", 0.0, 1.0, 100, "a"),
            agent("b", 5.0, 8.0, gen_ai__conversation__id="conv"),
            chat("c2", 5.0, 6.0, 150, "b"),
        ),
    ).programs
    assert program.program_id == "conv"
    assert len(program.turns) == 2


def test_an_agent_span_below_another_is_its_child(tmp_path: Path) -> None:
    parent, child = load_jsonl(
        tmp_path,
        export(
            agent("a", 0.0, 9.0),
            chat("c1", 0.0, 1.0, 100, "a"),
            agent("sub", 2.0, 4.0, "a"),
            chat("c2", 2.0, 3.0, 50, "sub"),
            chat("c3", 5.0, 6.0, 200, "a"),
        ),
    ).programs
    assert child.parent_id == "a"
    assert parent.turns[0].waits_for == ("sub",)


def test_without_agents_a_trace_id_is_the_program(tmp_path: Path) -> None:
    (program,) = load_jsonl(tmp_path, export(chat("c1", 0.0, 1.0, 100))).programs
    assert program.program_id == "t"


def test_openinference_spans_count_too(tmp_path: Path) -> None:
    names: dict[str, Any] = {"openinference__span__kind": "LLM", "session__id": "s"}
    (program,) = load_jsonl(
        tmp_path,
        export(
            span(
                *("c", 0.0, 1.0),
                llm__token_count__prompt=70,
                llm__token_count__completion=7,
                **names,
            )
        ),
    ).programs
    assert program.program_id == "s"
    assert sizes(program) == [(70, 70, 7)]


def test_model_spans_without_counts_are_left_out_with_a_note(tmp_path: Path) -> None:
    uncounted = span("c2", 5.0, 6.0, gen_ai__operation__name="chat")
    trace = load_jsonl(tmp_path, export(chat("c1", 0.0, 1.0, 100), uncounted))
    assert trace.notes == ["1 model span without token counts left out"]


def test_overlapping_requests_are_noted(tmp_path: Path) -> None:
    trace = load_jsonl(tmp_path, export(chat("c1", 0.0, 3.0, 100), chat("c2", 1.0, 2.0, 100)))
    assert pauses(trace.programs[0]) == [0.0, 0.0]
    assert trace.notes == ["1 request made before the reply before had ended: no pause"]


def test_spans_of_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no span of a model request") as error:
        load_jsonl(tmp_path, export(span("http", 0.0, 1.0)))
    assert "gen_ai.usage.input_tokens" in error.value.hint


def test_a_broken_count_names_the_span(tmp_path: Path) -> None:
    broken = chat("c1", 0.0, 1.0, 100)
    broken["attributes"][1]["value"] = {"stringValue": "many"}
    with pytest.raises(TraceError, match=r'span c1: gen_ai\.usage\.input_tokens is "many"'):
        load_jsonl(tmp_path, export(broken))
