"""Events of a program, told while it runs."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx2
import pytest
from pydantic import BaseModel

from agentrt import (
    Context,
    Event,
    ProgramBegan,
    ProgramEnded,
    ProgramState,
    Runtime,
    TextDelta,
    ToolBegan,
    ToolEnded,
    ToolOutcome,
    TurnBegan,
    TurnEnded,
    agent,
    connect,
    tool,
)
from agentrt.errors import EngineLost, ModelRequestFailed, ProgramCancelled
from agentrt.testing import ScriptedModel, answer, call, dies, refuses, says
from agentrt_engine.sglang.server import EngineProcess
from tests.support.scripted_engine import INFO, ScriptedEngine


@tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@agent(tools=[add])
async def adder(ctx: Context, question: str) -> str:
    """You add."""
    return await ctx.loop(question)


@agent
async def talker(ctx: Context) -> str:
    """You talk."""
    return await ctx.loop("Hi")


class Report(BaseModel):
    """A report."""

    title: str


@agent
async def reporter(ctx: Context[Report]) -> Report:
    """You report."""
    return await ctx.loop("Report")


@agent
async def chief(ctx: Context) -> str:
    """You delegate."""
    return await ctx.spawn(talker)


async def heard(runtime: Runtime, *agent_and_input: Any) -> list[Event]:
    async with runtime.start(*agent_and_input) as running:
        events = [event async for event in running.events()]
        await running
    return events


def follow(model: ScriptedModel, *agent_and_input: Any) -> list[Event]:
    async def main() -> list[Event]:
        async with model.connect() as runtime:
            return await heard(runtime, *agent_and_input)

    with model:
        return anyio.run(main)


def kinds(events: list[Event]) -> list[type[Event]]:
    """Kinds in their order, a run of pieces as one."""
    found: list[type[Event]] = []
    for event in events:
        if type(event) is not TextDelta or found[-1:] != [TextDelta]:
            found.append(type(event))
    return found


def texts(events: list[Event]) -> tuple[str, str]:
    deltas = [event for event in events if isinstance(event, TextDelta)]
    return "".join(each.text for each in deltas), "".join(each.answer for each in deltas)


def test_everything_in_its_order() -> None:
    events = follow(ScriptedModel([call("add", a=2, b=3), answer('It is "5".\n')]), adder, "2 + 3?")
    turn = [TurnBegan, TextDelta, TurnEnded]
    assert kinds(events) == [*turn, ToolBegan, ToolEnded, *turn, ProgramEnded]
    first = events[: kinds(events).index(ToolBegan)]
    began = next(event for event in events if isinstance(event, ToolBegan))
    ended = next(event for event in events if isinstance(event, ToolEnded))
    assert texts(events)[1] == 'It is "5".\n'
    assert texts(first)[1] == ""
    assert (began.name, began.arguments) == ("add", {"a": 2, "b": 3})
    assert began.call_id == ended.call.call_id != ""
    assert ended.call.outcome is ToolOutcome.FINISHED
    last = events[-1]
    assert isinstance(last, ProgramEnded)
    assert last.program.state is ProgramState.FINISHED
    assert last.program.output == 'It is "5".\n'


def test_the_history_is_that_of_a_run_that_nobody_follows() -> None:
    """Streamed or not: the same requests but for the fields that ask for a stream."""
    steps = [call("add", a=2, b=3), answer("5")]
    followed, alone = ScriptedModel(steps), ScriptedModel(steps)
    follow(followed, adder, "2 + 3?")

    async def main() -> None:
        async with alone.connect() as runtime:
            await runtime.run(adder, "2 + 3?")

    with alone:
        anyio.run(main)
    for one, other in zip(followed.requests, alone.requests, strict=True):
        streams = {"stream": True, "stream_options": {"include_usage": True}}
        assert {name: one.body.pop(name) for name in streams} == streams
        del other.body["return_meta_info"]
        for body in (one.body, other.body):
            del body["custom_params"], body["messages"]  # ids differ
        assert one.body == other.body
        assert [each["content"] for each in one.messages] == [
            each["content"] for each in other.messages
        ]


def test_a_free_reply_is_all_answer() -> None:
    events = follow(ScriptedModel([says("Good morning.")]), talker)
    assert texts(events) == ("Good morning.", "Good morning.")


def test_an_answer_of_a_type_comes_verbatim_only() -> None:
    events = follow(ScriptedModel([answer({"title": "T"})]), reporter)
    assert texts(events) == ('{"answer": {"title": "T"}}', "")


def test_children_are_heard_too() -> None:
    events = follow(ScriptedModel([says("Hello")]), chief)
    assert kinds(events) == [
        ProgramBegan, TurnBegan, TextDelta, TurnEnded, ProgramEnded, ProgramEnded
    ]  # fmt: skip
    assert [event.program.agent for event in events[:-1]] == ["talker"] * (len(events) - 1)
    assert events[-1].program.agent == "chief"


def test_of_several_readers_each_hears_everything() -> None:
    model = ScriptedModel([says("Hello")])
    found: list[list[Event]] = []

    async def main() -> None:
        async with model.connect() as runtime, runtime.start(talker) as running:

            async def read() -> None:
                found.append([event async for event in running.events()])

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                group.start_soon(read)

    with model:
        anyio.run(main)
    assert found[0] == found[1]
    assert kinds(found[0])[-1] is ProgramEnded


def test_a_reader_that_falls_behind_finds_fewer_longer_pieces() -> None:
    model = ScriptedModel([says("one two three four five")])

    async def main() -> None:
        async with model.connect() as runtime, runtime.start(talker) as running:
            events = running.events()
            await running
            late = [event async for event in events]
            assert [type(event) for event in late] == [
                TurnBegan, TextDelta, TurnEnded, ProgramEnded
            ]  # fmt: skip
            assert texts(late)[0] == "one two three four five"

    with model:
        anyio.run(main)


def test_whoever_stops_reading_is_forgotten() -> None:
    """The next request is not streamed, and nothing is kept for the reader."""
    model = ScriptedModel([call("add", a=1, b=1).after(0.05), answer("2")])

    async def main() -> None:
        async with model.connect() as runtime, runtime.start(adder, "1 + 1?") as running:
            async for event in running.events():
                if isinstance(event, TurnBegan):
                    break
            gc.collect()
            assert not running.program.is_followed
            assert await running == "2"

    with model:
        anyio.run(main)
    assert [bool(request.body.get("stream")) for request in model.requests] == [True, False]


def test_the_events_of_a_program_that_is_over_are_none() -> None:
    model = ScriptedModel([says("Hello")])

    async def main() -> None:
        async with model.connect() as runtime, runtime.start(talker) as running:
            await running
            assert [event async for event in running.events()] == []

    with model:
        anyio.run(main)


def test_records_of_programs_that_ended_can_be_pickled() -> None:
    program = follow(ScriptedModel([says("Hello")]), talker)[-1].program
    copied = pickle.loads(pickle.dumps(program))
    assert copied == program
    assert copied.output == "Hello"


def test_a_cancelled_program_ends_the_stream() -> None:
    model = ScriptedModel([says("never").after(60)])

    async def main() -> None:
        async with model.connect() as runtime, runtime.start(talker) as running:
            events = []
            async for event in running.events():
                events.append(event)
                running.cancel()
            assert kinds(events) == [TurnBegan, ProgramEnded]
            assert running.program.state is ProgramState.CANCELLED
            with pytest.raises(ProgramCancelled):
                await running

    with model:
        anyio.run(main)


@pytest.mark.parametrize(
    ("step", "error"),
    [(dies(), EngineLost), (refuses(400, "too long"), ModelRequestFailed)],
)
def test_a_failure_ends_the_stream_and_is_raised_where_it_is_awaited(
    step: Any, error: type[Exception]
) -> None:
    model = ScriptedModel([step])

    async def main() -> None:
        async with model.connect() as runtime, runtime.start(talker) as running:
            events = [event async for event in running.events()]
            assert kinds(events) == [TurnBegan, ProgramEnded]
            assert running.program.state is ProgramState.FAILED
            with pytest.raises(error):
                await running

    with model:
        anyio.run(main)


def test_over_a_socket() -> None:
    async def main(url: str) -> list[Event]:
        async with connect(url) as runtime:
            return await heard(runtime, adder, "2 + 3?")

    with ScriptedEngine([call("add", a=2, b=3), answer("fünf €")], info=INFO) as engine:
        events = anyio.run(main, engine.url)
        assert texts(events)[1] == "fünf €"
        turns = [event.turn for event in events if isinstance(event, TurnEnded)]
        assert [turn.output_tokens > 0 for turn in turns] == [True, True]


@agent(tools=[add], temperature=0.0, max_turns=2, max_tokens=48)
async def live_adder(ctx: Context) -> str:
    """You add numbers."""
    return await ctx.loop("What is 2 + 3?", tool_choice="required")


def test_on_a_real_engine(engine: EngineProcess) -> None:
    """Streamed or not: the same replies, the same counts of tokens."""

    async def main() -> list[Event]:
        async with connect(engine.url) as runtime:
            await runtime.run(live_adder)  # what follows finds the same in the cache
            alone = (await runtime.run(live_adder)).program
            events = await heard(runtime, live_adder)
            followed = events[-1].program
            assert followed.output == alone.output == texts(events)[1]
            for one, other in zip(followed.turns, alone.turns, strict=True):
                assert (one.input_tokens, one.output_tokens, one.finish_reason) == (
                    other.input_tokens, other.output_tokens, other.finish_reason
                )  # fmt: skip
            # Calls have ids of their own, so the second turns differ by those.
            assert followed.turns[0].cached_tokens == alone.turns[0].cached_tokens
            return events

    events = anyio.run(main)
    pieces = [event for event in events if isinstance(event, TextDelta)]
    assert len(pieces) > 5, "they come while they are generated"
    assert kinds(events).count(ToolBegan) == 1


# Streams that break.


def engine(lines: list[str]) -> Callable[[httpx2.Request], httpx2.Response]:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/models":
            return httpx2.Response(200, json={"data": [{"id": "m"}]})
        if request.url.path == "/v1/chat/completions":
            body = "".join(f"data: {line}\n\n" for line in lines)
            return httpx2.Response(200, content=body.encode())
        return httpx2.Response(404)

    return handle


PIECE = '{"choices": [{"delta": {"content": "He"}}]}'
STOP = '{"choices": [{"delta": {}, "finish_reason": "stop"}]}'
USAGE = '{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}'


def talk(lines: list[str]) -> str:
    async def main() -> str:
        transport = httpx2.MockTransport(engine(lines))
        async with (
            connect("http://engine.invalid", transport=transport) as runtime,
            runtime.start(talker) as running,
        ):
            async for _event in running.events():
                pass
            return await running

    return anyio.run(main)


def test_a_whole_stream() -> None:
    assert talk([PIECE, PIECE, STOP, USAGE, "[DONE]"]) == "HeHe"


@pytest.mark.parametrize("lines", [[PIECE], [PIECE, USAGE], [PIECE, STOP], []])
def test_a_stream_that_breaks_off_is_no_answer(lines: list[str]) -> None:
    with pytest.raises(ModelRequestFailed, match="it broke off, or said nothing of its tokens"):
        talk(lines)


def test_an_error_in_the_middle_is_told() -> None:
    error = '{"error": {"message": "out of memory", "code": 503}}'
    with pytest.raises(ModelRequestFailed, match="off: 'out of memory'") as caught:
        talk([PIECE, error])
    assert caught.value.status == 503


def test_an_event_that_is_no_chunk() -> None:
    with pytest.raises(ModelRequestFailed, match="is no chat completion"):
        talk([PIECE, "nonsense"])


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """No stream of another test is left."""
    gc.collect()
    yield
