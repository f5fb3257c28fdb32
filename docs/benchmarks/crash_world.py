"""Agents whose runs crash, and the world that their tools change, which outlives the crashes.

A boss starts workers; each sends a message (a write), pays (a write with an idempotency key), looks
(a read), and tells what it was told of the message. What was sent and paid stands in files of the
current folder.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentrt import Context, IdempotencyKey, agent, tool
from agentrt.chat import Message

SENT, PAID = "sent", "paid"

#: Called wherever a process may crash.
point: Callable[[], None] = lambda: None  # noqa: E731 - replaced by who crashes it


def note(file: str, line: str) -> None:
    """Change the world."""
    point()
    with Path(file).open("a") as opened:
        opened.write(f"{line}\n")
    point()


@tool(effect="write")
async def send(text: str) -> str:
    """Send a message."""
    note(SENT, text)
    return f"sent {text}"


@tool(effect="write")
async def pay(amount: int, key: IdempotencyKey) -> str:
    """Pay."""
    note(PAID, f"{key} {amount}")
    return f"paid {amount}"


@tool
async def look(text: str) -> dict[str, int]:
    """Look."""
    point()
    return {"letters": len(text)}


@agent(tools=[send, pay, look], max_turns=5)
async def worker(ctx: Context, name: str) -> str:
    """You work."""
    seen: dict[str, int] = await ctx.call(look, text=name)
    (ctx.workspace / "note").write_text(name)
    told = await ctx.loop(f"Do {name} of {seen['letters']} letters.")
    return f"{told}, {(ctx.workspace / 'note').read_text()}"


@agent
async def boss(ctx: Context, names: list[str]) -> list[str]:
    """You lead."""
    return await ctx.gather(*(ctx.spawn(worker, name) for name in names))


#: Turns of a worker.
TURNS = 4


def reply(messages: list[Message]) -> str:
    """What the model says to a worker, from what it was told so far."""
    name = next(m["content"] for m in messages if m["role"] == "user").split()[1]
    told = [message["content"] for message in messages if message["role"] == "tool"]
    calls: list[dict[str, Any]] = [
        {"name": "send", "arguments": {"text": name}},
        {"name": "pay", "arguments": {"amount": len(name)}},
        {"name": "look", "arguments": {"text": name}},
    ]
    return json.dumps(calls[len(told)] if len(told) < len(calls) else {"answer": told[0]})


def turn_of(messages: list[Message]) -> int:
    """The number of the turn that a prompt asks for, from 0."""
    return sum(message["role"] == "assistant" for message in messages)


def check_world(folder: Path, names: list[str], told: list[str]) -> tuple[list[str], int]:
    """What is wrong with the world, given what the workers were told; and how many do not know.

    Args:
        folder: where the run was; names: of its workers; told: what they returned.
    """
    defects = []
    unknown = 0
    sent = Counter(_lines(folder / SENT))
    for name, answer in zip(names, told, strict=True):
        if answer == f"sent {name}, {name}":
            if sent[name] != 1:
                defects.append(f"{name}: told once, sent {sent[name]} times")
        elif "not known" in answer and sent[name] <= 1:
            unknown += 1
        else:
            defects.append(f"{name}: told {answer!r}, sent {sent[name]} times")
    payments = dict(line.split() for line in _lines(folder / PAID))
    if sorted(map(int, payments.values())) != sorted(map(len, names)):
        defects.append(f"paid {payments}")
    return defects, unknown


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
