"""Programs as lines of agentrt.trace.v1."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from agentrt import Context, Program, ToolCall, ToolOutcome, Turn, agent, connect, tool
from agentrt.errors import EngineLost, SettingError
from agentrt.recorder import Recorder
from agentrt.testing import answer, call, dies
from agentrt_engine.wire.trace import TRACE_FORMAT, PauseKind, ProgramRecord, ToolRecord
from tests.support.scripted_engine import INFO, ScriptedEngine


def turn(
    started: float,
    ended: float,
    input_tokens: int,
    output_tokens: int,
    *tools: ToolCall,
    extends: bool = True,
) -> Turn:
    return Turn(
        started=started,
        ended=ended,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=None,
        queue_s=None,
        extends_previous=extends,
        finish_reason="stop",
        tools=list(tools),
    )


def program(*turns: Turn, started: float | None = 10.0) -> Program:
    return Program("p" * 32, "reader", 1, started=started, turns=list(turns))


def test_new_tokens_are_what_the_turn_before_cannot_have_left_in_the_cache() -> None:
    record = program(
        turn(10, 11, 100, 20, extends=False),
        turn(12, 13, 150, 10),
        turn(13, 14, 155, 5),  # shorter than prompt and reply before it: never negative
        turn(15, 16, 400, 7, extends=False),
    ).record(start=4.0)
    assert record.arrival_s == 6.0
    assert [t.input_tokens for t in record.turns] == [100, 150, 155, 400]
    assert [t.new_tokens for t in record.turns] == [100, 30, 0, 400]
    assert [t.output_tokens for t in record.turns] == [20, 10, 5, 7]


def test_pauses_last_until_the_next_request_and_tell_their_kind() -> None:
    slow = ToolCall("grep", 11.0, 12.5, ToolOutcome.FINISHED)
    rejected = ToolCall("grpe", 14.0, 14.0, ToolOutcome.REJECTED, "there is no tool")
    record = program(
        turn(10, 11, 100, 20, slow, extends=False),
        turn(13, 14, 150, 10, rejected),
        turn(14.5, 15, 170, 3),
    ).record(start=10.0)
    assert [(t.pause_s, t.pause_kind) for t in record.turns] == [
        (2.0, PauseKind.TOOL),
        (0.5, PauseKind.MIXED),
        (0.0, PauseKind.FINAL),
    ]
    assert [t.tools for t in record.turns] == [(ToolRecord("grep", 1.5),), (), ()]


def test_a_program_that_never_began_has_no_turns_and_no_arrival() -> None:
    record = program(started=None).record(start=0.0)
    assert (record.turns, record.arrival_s) == ((), None)


@tool
async def lookup(word: str) -> str:
    """Look a word up."""
    return word


@agent(tools=[lookup])
async def reader(ctx: Context) -> str:
    """You read."""
    return await ctx.loop("cat?")


def read_lines(path: Path) -> tuple[dict[str, Any], list[ProgramRecord]]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    header, *lines = content.splitlines()
    return json.loads(header), [msgspec.json.decode(line, type=ProgramRecord) for line in lines]


@pytest.mark.parametrize("name", ["deep/run.jsonl", "run.jsonl.gz"])
def test_a_run_is_recorded_in_the_trace_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    async def main(url: str) -> Program:
        async with connect(url, trace=path) as runtime:
            return (await runtime.run(reader)).program

    with ScriptedEngine([call("lookup", word="cat"), answer("A pet.")], info=INFO) as engine:
        ran = anyio.run(main, engine.url)
    header, [record] = read_lines(path)
    assert header["format"] == TRACE_FORMAT
    assert header["model"] == "scripted"
    assert header["engine"] == {"url": engine.url, **INFO.to_builtins()}
    assert header["created"].endswith("+00:00")
    assert record.program_id == ran.program_id
    first, last = record.turns
    assert last.new_tokens == last.input_tokens - first.input_tokens - first.output_tokens
    assert last.new_tokens == len("cat")  # the scripted engine counts characters
    assert [used.name for used in first.tools] == ["lookup"]
    assert first.pause_s is not None and first.tools[0].seconds is not None
    assert first.pause_s >= first.tools[0].seconds


def test_ended_programs_are_on_disk_while_others_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"

    async def main(url: str) -> None:
        async with connect(url, trace=path) as runtime:
            await runtime.run(reader)
            _header, records = read_lines(path)
            assert len(records) == 1
            with pytest.raises(EngineLost):
                await runtime.run(reader)

    with ScriptedEngine([answer("A pet."), call("lookup", word="x"), dies()]) as engine:
        anyio.run(main, engine.url)
    _header, records = read_lines(path)
    assert [len(record.turns) for record in records] == [1, 1]


def test_a_program_without_an_answer_is_not_in_the_trace(tmp_path: Path) -> None:
    """A reader refuses programs without turns."""
    path = tmp_path / "run.jsonl"

    async def main(url: str) -> None:
        async with connect(url, trace=path, trace_notes={"why": "a test"}) as runtime:
            with pytest.raises(EngineLost):
                await runtime.run(reader)

    with ScriptedEngine([dies()]) as engine:
        anyio.run(main, engine.url)
    header, records = read_lines(path)
    assert records == []
    assert header["why"] == "a test"


def test_a_trace_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"cannot write the trace .*file/run\.jsonl"):
        Recorder(tmp_path / "file" / "run.jsonl", start=0.0, metadata={})
