"""A run of three levels is cancelled wherever it can wait, and leaves nothing behind.

The event loop counts its rounds. Whoever waits does so across the end of a round, so cancelling at
the end of each round in turn meets every await that suspends. `whole` cancels the run from outside,
`child` only one of the programs in the middle, from the code of its parent.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt import Context, Program, ProgramState, Running, ToolOutcome, agent, connect, tool
from agentrt.chat import ChatReply, ChatRequest
from agentrt.client import EngineClient
from agentrt.endpoint import Endpoint
from agentrt.errors import ProgramCancelled
from agentrt_engine.wire.hints import Hint, HintKind
from agentrt_engine.wire.identity import ProgramTag
from tests.support.scripted_engine import INFO

Where = Literal["whole", "child"]

#: What one run did to the world; a new one for each run.
world: World


@dataclass
class World:
    """What happened outside of the programs.

    Attributes:
        answered: replies that the engine gave, per program.
        hints: per program, what the engine was told.
        open_tools: calls of tools that began and did not end.
        returned: calls that came to their end.
        workspaces: that programs made.
    middle: programs of the second level.
    """

    answered: Counter[str] = field(default_factory=Counter)
    hints: list[Hint] = field(default_factory=list)
    open_tools: int = 0
    returned: int = 0
    workspaces: list[Path] = field(default_factory=list)
    middle: list[Running[str]] = field(default_factory=list)


@tool
async def wait(text: str) -> str:
    """Wait."""
    world.open_tools += 1
    try:
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(0.001)
    finally:
        world.open_tools -= 1
    world.returned += 1
    return text


@tool
def think(text: str) -> str:
    """Think, in a thread."""
    time.sleep(0.0005)
    return text


@agent(tools=[wait, think], max_turns=4)
async def leaf(ctx: Context, name: str) -> str:
    """You work."""
    (ctx.workspace / "note").write_text(name)
    world.workspaces.append(ctx.workspace)
    await ctx.call(wait, text=f"{name}: own")
    return await ctx.loop(name)


@agent
async def middle(ctx: Context, name: str, leaves: int) -> str:
    """You pass work on."""
    first = await ctx.say("What now?")
    parts = await ctx.gather(*(ctx.spawn(leaf, f"{name}.{n}") for n in range(leaves)))
    return first + "".join(parts)


@agent
async def top(ctx: Context, widths: list[int]) -> list[str]:
    """You lead."""
    world.middle[:] = [ctx.spawn(middle, f"m{n}", width) for n, width in enumerate(widths)]
    results = []
    for running in world.middle:
        try:
            results.append(await running)
        except ProgramCancelled:
            results.append("cancelled")
    return results


def reply(request: ChatRequest) -> str:
    """A leaf waits, thinks and answers; others say something."""
    if request.response_format is None:
        return "so"
    told = sum(message["role"] == "tool" for message in request.messages)
    name = next(m["content"] for m in request.messages if m["role"] == "user")
    calls: list[dict[str, Any]] = [
        {"name": "wait", "arguments": {"text": f"{name}: asked"}},
        {"name": "think", "arguments": {"text": name}},
        {"answer": name},
    ]
    return json.dumps(calls[told])


class _Engine(EngineClient):
    """One that needs no socket."""

    async def discover(self) -> Endpoint:
        return Endpoint("http://127.0.0.1:9", "model", INFO)

    async def chat(
        self,
        request: ChatRequest,
        *,
        endpoint: Endpoint,
        tag: ProgramTag,
        request_id: str,
        heard: Callable[[str], None] | None = None,
    ) -> ChatReply:
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(0.001)
        world.answered[tag.program_id] += 1
        return ChatReply("", "model", reply(request), "stop", 10, 5, None, None)

    async def hint(self, hint: Hint) -> None:
        await anyio.lowlevel.checkpoint()
        world.hints.append(hint)


@pytest.fixture(autouse=True, scope="module")
def engine() -> Any:
    """Runtimes of this module use it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agentrt.runtime.EngineClient", _Engine)
        yield


class CountingLoop(asyncio.SelectorEventLoop):
    """Calls a function at the end of its n-th round."""

    def __init__(self) -> None:
        super().__init__(_Counting(self))
        self.rounds = 0
        self.at = 0
        self.call: Callable[[], None] = lambda: None


class _Counting(selectors.DefaultSelector):
    def __init__(self, loop: CountingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        loop = self._loop
        loop.rounds += 1
        if loop.rounds == loop.at:
            loop.call()
            timeout = 0
        return super().select(timeout)


@dataclass
class Ended:
    """How a run ended: its programs, what it returned, whether it was cancelled, its rounds."""

    programs: list[Program]
    output: list[str] | None
    cancelled: bool
    rounds: int


def run(widths: list[int], *, cancel: Where = "whole", at: int = 0) -> Ended:
    """Run it on a fresh world, and cancel it at the end of a round; 0 for never."""
    global world
    world = World()

    async def inside() -> Ended:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        output = None
        async with connect("http://127.0.0.1:9") as runtime:
            begun = loop.rounds
            with anyio.CancelScope() as scope:
                loop.at = begun + at if at else 0
                loop.call = scope.cancel if cancel == "whole" else _cancel_first_middle
                output = (await runtime.run(top, widths)).output
            rounds = loop.rounds - begun
            loop.at = 0
            return Ended(runtime.programs, output, scope.cancelled_caught, rounds)

    return anyio.run(inside, backend_options={"loop_factory": CountingLoop})


def _cancel_first_middle() -> None:
    if world.middle:
        world.middle[0].cancel()


def check(ended: Ended) -> None:
    """Nothing runs any more, nothing that was done is lost, and the engine knows."""
    assert world.open_tools == 0
    assert not [path for path in world.workspaces if path.exists()]
    told = Counter(hint.program_id for hint in world.hints if hint.kind is HintKind.ENDED)
    recorded = 0
    for program in ended.programs:
        assert program.state in (ProgramState.FINISHED, ProgramState.CANCELLED), program
        assert program.started is not None and program.ended is not None
        for child in program.children:
            assert child.ended is not None and child.ended <= program.ended
        assert len(program.turns) == world.answered[program.program_id]
        assert told[program.program_id] == bool(program.turns)
        recorded += sum(
            call.name == wait.name and call.outcome is ToolOutcome.FINISHED
            for call in program.tool_calls
        )
    assert recorded == world.returned


def whole_run(widths: list[int]) -> int:
    """Rounds of a run that nobody cancels."""
    ended = run(widths)
    check(ended)
    assert not ended.cancelled
    assert ended.output is not None and len(ended.output) == len(widths)
    return ended.rounds


@pytest.mark.parametrize("cancel", ["whole", "child"])
def test_it_may_be_cancelled_at_every_await(cancel: Where) -> None:
    rounds = whole_run([2, 1])
    outcomes: Counter[bool] = Counter()
    for at in range(1, rounds + 1):
        ended = run([2, 1], cancel=cancel, at=at)
        check(ended)
        outcomes[ended.cancelled] += 1
        if cancel == "child":
            assert ended.output is not None
            assert ended.output[1] == "som1.0"  # the other one is not touched
    # Threads take their time, so that a few of the last rounds may not come in another run.
    if cancel == "whole":
        assert outcomes[True] > 0.6 * rounds
    else:
        assert outcomes[True] == 0


@settings(max_examples=60, deadline=None)
@given(
    widths=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    share=st.floats(0, 1),
    cancel=st.sampled_from(["whole", "child"]),
)
def test_programs_of_any_shape_may_be_cancelled_at_any_time(
    widths: list[int], share: float, cancel: Where
) -> None:
    rounds = whole_run(widths)
    check(run(widths, cancel=cancel, at=1 + int(share * rounds)))
