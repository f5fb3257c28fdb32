"""What is taken from a journal, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentrt import (
    Agent,
    Context,
    Durability,
    IdempotencyKey,
    Journal,
    Program,
    ProgramState,
    Retry,
    ToolOutcome,
    agent,
    connect,
    tool,
)
from agentrt.errors import DefinitionError, EngineError, JournalError, JournalMismatch, ToolFailed
from agentrt.testing import answer, call, dies, says
from tests.sdk.test_loop import lookup, messages
from tests.support.scripted_engine import ScriptedEngine


def run(
    engine: ScriptedEngine, journal: Path, what: Agent[..., Any], *args: Any, **options: Any
) -> Program:
    """Of a program that may fail because of its engine."""

    async def main() -> Program:
        async with connect(engine.url, journal=journal, **options) as runtime:
            with suppress(EngineError):
                await runtime.run(what, *args)
            return runtime.programs[0]

    return anyio.run(main)


@agent(tools=[lookup], max_turns=4)
async def reader(ctx: Context, question: str = "What is a cat?") -> str:
    """You read a dictionary."""
    return await ctx.loop(question)


@pytest.mark.parametrize("durability", Durability)
def test_a_program_that_lost_its_engine_goes_on_where_it_was(
    tmp_path: Path, durability: Durability
) -> None:
    with ScriptedEngine([call("lookup", word="cat"), dies()]) as engine:
        lost = run(engine, tmp_path, reader, durability=durability)
    assert (lost.state, len(lost.turns)) == (ProgramState.FAILED, 1)
    with ScriptedEngine([answer("A pet.")]) as engine:
        program = run(engine, tmp_path, reader, durability=durability)
        assert [m["role"] for m in messages(engine)] == ["system", "user", "assistant", "tool"]
    assert (program.state, program.output) == (ProgramState.FINISHED, "A pet.")
    assert program.program_id == lost.program_id
    assert [turn.output_tokens > 0 for turn in program.turns] == [True, True]
    assert [made.name for made in program.turns[0].tools] == ["lookup"]


def test_the_time_between_crash_and_resumption_does_not_count(tmp_path: Path) -> None:
    now = [1000.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    with ScriptedEngine([call("lookup", word="cat"), dies()]) as engine:
        lost = run(engine, tmp_path, reader, clock=clock)
    assert lost.started is not None and lost.ended is not None
    now[0] += 10_000
    with ScriptedEngine([answer("A pet.")]) as engine:
        program = run(engine, tmp_path, reader, clock=clock)
    assert program.started is not None and program.ended is not None
    assert lost.ended - lost.started < program.ended - program.started < 100
    [first, second] = program.turns
    assert first.started - program.started == lost.turns[0].started - lost.started
    assert second.started > first.ended


def test_a_finished_program_is_not_run_again(tmp_path: Path) -> None:
    runs = []

    @agent
    async def worker(ctx: Context, word: str) -> dict[str, int]:
        """You work."""
        runs.append(word)
        await ctx.say(word)
        return {word: 1}

    for steps in ([says("yes")], []):
        with ScriptedEngine(steps) as engine:
            program = run(engine, tmp_path, worker, "go")
        assert (program.output, len(program.turns)) == ({"go": 1}, 1)
        assert program.state is ProgramState.FINISHED
    assert runs == ["go"]


def test_an_output_that_json_cannot_say_is_made_again_from_the_replies(tmp_path: Path) -> None:
    @agent
    async def worker(ctx: Context) -> object:
        """You work."""
        return [object, await ctx.say("go")]

    for steps in ([says("yes")], []):
        with ScriptedEngine(steps) as engine:
            assert run(engine, tmp_path, worker).output == [object, "yes"]


def test_programs_are_known_again_by_agent_and_arguments(tmp_path: Path) -> None:
    @agent
    async def echo(ctx: Context, word: str) -> str:
        """You repeat."""
        return await ctx.loop(word)

    @agent
    async def boss(ctx: Context, words: str) -> list[str]:
        """You lead."""
        return await ctx.gather(*(ctx.spawn(echo, word) for word in words))

    # Whose request comes first is chance; the other one is still waiting when the engine goes.
    with ScriptedEngine([[says("A")], [says("", dies=True, delay_s=0.5)]]) as engine:
        run(engine, tmp_path, boss, "ab")
    with ScriptedEngine([[says("B")]]) as engine:
        program = run(engine, tmp_path, boss, "ab")
    known = program.output
    assert sorted(known) == ["A", "B"]
    assert [child.output for child in program.children] == known
    # A finished family is known whole.
    with ScriptedEngine() as engine:
        program = run(engine, tmp_path, boss, "ab")
    assert program.output == known
    assert [(c.output, len(c.turns)) for c in program.children] == [(word, 1) for word in known]
    # Other arguments are another program.
    with ScriptedEngine([[says("C")]]) as engine:
        assert run(engine, tmp_path, boss, "c").output == ["C"]


def test_another_prompt_than_the_recorded_one_is_an_error(tmp_path: Path) -> None:
    said = ["What is a cat?"]

    @agent(tools=[lookup])
    async def worker(ctx: Context) -> str:
        """You work."""
        return await ctx.loop(said[0])

    with ScriptedEngine([call("lookup", word="cat"), dies()]) as engine:
        run(engine, tmp_path, worker)
    said[0] = "What is a dog?"
    with (
        ScriptedEngine() as engine,
        pytest.raises(JournalMismatch, match="request 1 of worker#1 is another"),
    ):
        run(engine, tmp_path, worker)


# Tools.


def test_a_value_that_the_agent_called_for_is_kept_with_its_type(tmp_path: Path) -> None:
    calls = []

    @tool(effect="write")
    async def measure() -> tuple[int, str]:
        """Measure."""
        calls.append(1)
        return 3, "cm"

    @agent
    async def worker(ctx: Context) -> str:
        """You work."""
        length, unit = await ctx.call(measure)
        return f"{length} {unit} " + await ctx.say("go")

    with ScriptedEngine([dies()]) as engine:
        run(engine, tmp_path, worker)
    with ScriptedEngine([says("yes")]) as engine:
        assert run(engine, tmp_path, worker).output == "3 cm yes"
    assert calls == [1]


def test_a_value_that_cannot_be_kept_is_unknown_if_its_tool_writes(tmp_path: Path) -> None:
    calls = []

    @tool(effect="write")
    async def make() -> object:
        """Make."""
        calls.append(1)
        return object

    @agent
    async def worker(ctx: Context) -> str:
        """You work."""
        try:
            await ctx.call(make)
        except ToolFailed as error:
            assert error.outcome is ToolOutcome.UNKNOWN
            assert "could not be kept" in str(error)
        return await ctx.say("go")

    for steps in ([dies()], [dies()], [says("yes")]):
        with ScriptedEngine(steps) as engine:
            program = run(engine, tmp_path, worker)
    assert program.output == "yes"
    assert [made.outcome for made in program.tool_calls] == [ToolOutcome.UNKNOWN]
    assert calls == [1]


def test_a_cancelled_write_is_unknown(tmp_path: Path) -> None:
    calls = []

    @tool(effect="write", timeout=None)
    async def write() -> str:
        """Write."""
        calls.append(1)
        await anyio.sleep_forever()
        return "never"

    @agent(tools=[write])
    async def worker(ctx: Context) -> str:
        """You work."""
        return await ctx.loop("go")

    async def cancelled(url: str) -> Program:
        async with connect(url, journal=tmp_path) as runtime:
            with anyio.move_on_after(0.5):
                await runtime.run(worker)
            return runtime.programs[0]

    with ScriptedEngine([call("write")]) as engine:
        program = anyio.run(cancelled, engine.url)
    assert program.state is ProgramState.CANCELLED
    with ScriptedEngine([answer("ok")]) as engine:
        program = run(engine, tmp_path, worker)
        assert "Whether it took effect is not known" in messages(engine)[-1]["content"]
    assert [made.outcome for made in program.tool_calls] == [ToolOutcome.UNKNOWN]
    assert (program.output, calls) == ("ok", [1])


def test_an_idempotency_key_is_hidden_from_the_model_and_the_same_at_every_attempt() -> None:
    keys = []

    @tool(effect="write", retry=Retry(attempts=3, delay=0.0))
    async def pay(amount: int, key: IdempotencyKey) -> str:
        """Pay."""
        keys.append(key)
        if len(keys) < 3:
            raise OSError("no line")
        return "paid"

    @agent(tools=[pay])
    async def worker(ctx: Context) -> str:
        """You work."""
        await ctx.call(pay, amount=1)
        return await ctx.loop("go")

    async def main(url: str) -> None:
        async with connect(url) as runtime:
            await runtime.run(worker)

    with ScriptedEngine([call("pay", amount=2), answer("ok")]) as engine:
        anyio.run(main, engine.url)
        [listed] = engine.requests[0].body["tools"]
    assert list(listed["function"]["parameters"]["properties"]) == ["amount"]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] not in keys[:3]


def test_two_idempotency_keys_are_refused() -> None:
    async def pay(one: IdempotencyKey, two: IdempotencyKey) -> None:
        """Pay."""

    with pytest.raises(DefinitionError, match="more than one parameter is an IdempotencyKey"):
        tool(pay)


# Folders.


def test_workspaces_stay_until_the_run_has_finished(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    @agent
    async def worker(ctx: Context) -> str:
        """You work."""
        note = ctx.workspace / "note"
        note.write_text(note.read_text() + "x" if note.exists() else "x")
        return note.read_text() + await ctx.say("go")

    with ScriptedEngine([dies()]) as engine:
        run(engine, folder, worker)
    assert len(list((folder / "workspaces").glob("*/note"))) == 1
    with ScriptedEngine([says("!")]) as engine:
        assert run(engine, folder, worker).output == "xx!"
    assert not (folder / "workspaces").exists()


def test_a_run_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        Journal(tmp_path),
        pytest.raises(JournalError, match="in use by another process"),
        Journal(tmp_path),
    ):
        pass
    with Journal(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file/run: Not a directory"):
        Journal(tmp_path / "file/run")
