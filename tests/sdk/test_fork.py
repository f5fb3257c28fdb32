"""Children that go on from their parent's history."""

from __future__ import annotations

from agentrt import Context, agent, tool
from agentrt.testing import answer, call, says
from tests.sdk.test_loop import lookup, run
from tests.support.scripted_engine import ScriptedEngine


@tool
async def judge(text: str) -> str:
    """Judge a text."""
    return f"{text} is fine"


@agent(tools=[judge], max_turns=2)
async def reviewer(ctx: Context, focus: str) -> str:
    """You review what was done."""
    return await ctx.loop(f"Look at {focus}.")


@agent(tools=[lookup], max_turns=3)
async def author(ctx: Context) -> list[str]:
    """You write."""
    await ctx.loop("Write.")
    return await ctx.gather(
        ctx.spawn(reviewer.fork(), "style"), ctx.spawn(reviewer.fork(), focus="facts")
    )


SCRIPTS = [
    [call("lookup", word="cat"), answer("A cat is a pet.")],
    [call("judge", text="style"), answer("good")],
    [answer("right")],
]


def test_a_fork_begins_with_all_that_its_parent_was_sent() -> None:
    with ScriptedEngine(SCRIPTS) as engine:
        result = run(engine, author)
    assert sorted(result.output) == ["good", "right"]
    parent, *_rest = engine.requests_by_program().values()
    last = parent[-1].body
    for child in result.program.children:
        for request in engine.requests_by_program()[child.program_id]:
            assert request.body["messages"][: len(last["messages"])] == last["messages"]
            assert request.body["tools"] == last["tools"]


def test_a_fork_is_told_who_it_is_and_what_it_may_use_in_its_first_prompt() -> None:
    with ScriptedEngine(SCRIPTS) as engine:
        result = run(engine, author)
    child = result.program.children[0]
    request = engine.requests_by_program()[child.program_id][0].body
    *_history, reply, prompt = request["messages"]
    assert reply == {"role": "assistant", "content": answer("A cat is a pet.").text}
    assert prompt["role"] == "user"
    assert prompt["content"].startswith(
        "You review what was done.\n\nYou may use these tools, too:"
    )
    assert '"name": "judge"' in prompt["content"]
    assert prompt["content"].endswith("\n\nLook at style.")
    calls, _answer = request["response_format"]["json_schema"]["schema"]["anyOf"]
    assert calls["properties"]["name"] == {"const": "judge"}


def test_forks_leave_their_parent_as_it_was() -> None:
    @agent
    async def child(ctx: Context) -> str:
        """You help."""
        return await ctx.loop("help")

    @agent
    async def parent(ctx: Context) -> tuple[str, ...]:
        """You lead."""
        await ctx.loop("begin")
        await ctx.spawn(child.fork())
        await ctx.loop("end")
        return tuple(message["content"] for message in ctx.messages)

    with ScriptedEngine([[says("a"), says("c")], [says("b")]]) as engine:
        assert run(engine, parent).output == ("You lead.", "begin", "a", "end", "c")


def test_a_fork_knows_what_its_parent_knew_when_it_was_started() -> None:
    @agent
    async def child(ctx: Context) -> int:
        """You help."""
        await ctx.loop("help")
        return len(ctx.messages)

    @agent
    async def parent(ctx: Context) -> int:
        """You lead."""
        await ctx.loop("begin")
        started = ctx.spawn(child.fork())
        await ctx.loop("go on")
        return await started

    with ScriptedEngine([[says("a"), says("b")], [says("c", delay_s=0.05)]]) as engine:
        assert run(engine, parent).output == 5


def test_the_records_of_forks_share_a_prefix() -> None:
    with ScriptedEngine(SCRIPTS) as engine:
        program = run(engine, author).program
    last = program.turns[-1]
    prefixes = {child.record(0.0).prefix_id for child in program.children}
    assert len(prefixes) == 1
    for child in program.children:
        assert child.record(0.0).prefix_tokens == last.input_tokens + last.output_tokens


def test_a_fork_of_an_empty_history_is_a_child_like_others() -> None:
    @agent
    async def parent(ctx: Context) -> str:
        """You lead."""
        return await ctx.spawn(reviewer.fork(), "nothing")

    with ScriptedEngine([answer("fine")]) as engine:
        result = run(engine, parent)
    system, user = engine.requests[0].body["messages"]
    assert system["content"].startswith("You review what was done.")
    assert user["content"] == "Look at nothing."
    assert result.program.children[0].record(0.0).prefix_id is None
