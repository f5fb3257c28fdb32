"""A program as a user of agentrt writes one: everything that the package exports, and its types.

Run by `test_user_program.py`, and checked there as a user would check it.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import anyio
from pydantic import BaseModel

from agentrt import (
    Agent,
    AgentrtError,
    Budget,
    Context,
    Durability,
    EngineSettings,
    Event,
    EventStream,
    IdempotencyKey,
    Journal,
    Program,
    ProgramBegan,
    ProgramEnded,
    ProgramResult,
    ProgramState,
    Retry,
    Running,
    Runtime,
    TextDelta,
    Tool,
    ToolBegan,
    ToolCall,
    ToolEnded,
    ToolOutcome,
    Turn,
    TurnBegan,
    TurnEnded,
    __version__,
    agent,
    connect,
    tool,
)


class Order(BaseModel):
    """What is to be bought."""

    item: str
    pieces: int


@tool(retry=Retry(attempts=2, on=(OSError,), delay=0.01), concurrency=2)
async def price(item: str) -> float:
    """Look up a price."""
    return 2.5 * len(item)


@tool(effect="write", timeout=5)
def pay(ctx: Context, amount: float, key: IdempotencyKey) -> str:
    """Pay."""
    (ctx.workspace / key).write_text(f"{amount:.2f}")
    return "paid"


TOOLS: tuple[Tool, ...] = (price, pay)


@agent(tools=[price])
async def buyer(ctx: Context[Order], wish: str) -> Order:
    """You decide what to buy."""
    order = await ctx.loop(f"What is it: {wish}?")
    assert_type(order, Order)
    return order


@agent(tools=TOOLS, budget=Budget(turns=6, tool_calls=4), max_turns=3)
async def shop(ctx: Context, wishes: list[str]) -> list[Order]:
    """You run a shop."""
    running = [ctx.spawn(buyer, wish) for wish in wishes]
    assert_type(running, list[Running[Order]])
    orders = await ctx.gather(*running)
    await ctx.call(pay, amount=sum(float(order.pieces) for order in orders))
    thanks = await ctx.say("Say thanks.")
    assert_type(thanks, str)
    return orders


SHOP: Agent[[list[str]], list[Order]] = shop


def summary(program: Program) -> str:
    """What a program did, in a line."""
    turns: list[Turn] = program.turns
    calls: list[ToolCall] = program.tool_calls
    good = sum(call.outcome is ToolOutcome.FINISHED for call in calls)
    done = program.state is ProgramState.FINISHED
    return f"{program.agent}: {len(turns)} turns, {good} of {len(calls)} calls, done: {done}"


def told(event: Event) -> str:
    """What happened, as people would be shown it."""
    match event:
        case TextDelta(answer=answer):
            return answer
        case TurnBegan(program=program):
            return f"[{program.label}, turn {program.turn}] "
        case TurnEnded(turn=turn):
            return f" ({turn.output_tokens} tokens)\n"
        case ToolBegan(name=name, arguments=arguments):
            return f"{name} {dict(arguments)} … "
        case ToolEnded(call=call):
            return f"{call.outcome}\n"
        case ProgramBegan(program=program) | ProgramEnded(program=program):
            return f"[{program.label}] {program.state}\n"
    return ""


async def show(events: EventStream) -> None:
    """Print what happens as it happens."""
    async for event in events:
        print(told(event), end="", flush=True)  # noqa: T201 - what users do


async def sell(runtime: Runtime, wishes: list[str]) -> list[Order]:
    """Run the shop and wait for it, then again beside other code."""
    result = await runtime.run(SHOP, wishes)
    assert_type(result, ProgramResult[list[Order]])
    async with runtime.start(shop, wishes=wishes) as running:
        await show(running.events())
        again = await running
    assert_type(again, list[Order])
    for program in runtime.programs:
        print(summary(program))  # noqa: T201 - what users do
    return result.output


async def main(url: str | None, folder: Path) -> list[Order]:
    """Sell something, with a journal."""
    with Journal(folder, durability=Durability.PROCESS) as journal:
        try:
            # Without a URL an engine is started with these settings.
            settings = EngineSettings() if url else EngineSettings(kv_tokens=4_096)
            async with connect(url, journal=journal, engine=settings) as runtime:
                return await sell(runtime, ["tea"])
        except AgentrtError as error:
            raise SystemExit(f"agentrt {__version__}: {error}") from error


if __name__ == "__main__":
    anyio.run(main, None, Path("shop"))
