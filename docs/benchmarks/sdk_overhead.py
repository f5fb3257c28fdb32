"""What the SDK itself costs: per tool call, and with a thousand programs at once.

    .venv/bin/python docs/benchmarks/sdk_overhead.py --json sdk_overhead.json

A tool call goes through the whole interception (validation, limits, masking, spans without an SDK,
record) with a tool that does nothing, beside the bare function, in turns. The thousand programs run
on one core against a scripted engine over HTTP that has the other one; how late they are is taken
where they know when they should have gone on: at the end of a tool that sleeps, and when a reply
arrives that says when it was sent.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from cpu_attention import machine
from cyclopts import run
from rich.console import Console
from rich.table import Table

from agentrt import Context, agent, connect, tool

CALLS = 2_000
ROUNDS = 7

#: Turns of each of the programs; seconds over which they begin.
TURNS = 8
BEGIN_S = 20.0

#: Means of what the model and the tools take, seconds, exponential.
MODEL_S = 3.0
TOOL_S = 1.5

#: Programs at once. The line by which a server says that it listens.
PROGRAMS = 1_000
READY = "ready"

Delays = list[float]


@tool
async def nothing(text: str, times: int = 1) -> str:
    """Do nothing."""
    return text


# What a call costs.


@agent(tools=[nothing])
async def caller(ctx: Context) -> dict[str, list[float]]:
    """You call."""
    found: dict[str, list[float]] = {"bare": [], "intercepted": []}
    for _round in range(ROUNDS):
        for name, call in (
            ("bare", nothing.function),
            ("intercepted", lambda **arguments: ctx.call(nothing, **arguments)),
        ):
            for _ in range(CALLS):
                began = time.perf_counter()
                await call(text="some text", times=3)
                found[name].append(1e3 * (time.perf_counter() - began))
    return found


# A thousand programs.


@agent(max_turns=TURNS + 1)
async def sleeper(ctx: Context, seed: int, replies: Delays, tools: Delays) -> None:
    """You work."""
    rng = random.Random(seed)
    await anyio.sleep(rng.uniform(0, BEGIN_S))

    @tool(timeout=None)
    async def work(seconds: float) -> str:
        """Work."""
        due = time.monotonic() + seconds
        await anyio.sleep(seconds)
        tools.append(1e3 * (time.monotonic() - due))
        return "done"

    for _turn in range(TURNS):
        sent = float(await ctx.say(f"{rng.expovariate(1 / MODEL_S):.3f}"))
        replies.append(1e3 * (time.monotonic() - sent))
        await ctx.call(work, seconds=rng.expovariate(1 / TOOL_S))


async def at_once(url: str, programs: int) -> dict[str, Any]:
    """Run them all; how late they were, and how busy the core was."""
    replies: Delays = []
    tools: Delays = []
    began, busy = time.monotonic(), time.process_time()
    async with connect(url) as runtime, anyio.create_task_group() as tasks:
        for seed in range(programs):
            tasks.start_soon(runtime.run, sleeper, seed, replies, tools)
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    return {
        "programs": programs,
        "turns": len(replies),
        "seconds": round(seconds, 1),
        "core_busy": round(busy / seconds, 3),
        "reply_ms": quantiles(replies),
        "tool_ms": quantiles(tools),
    }


def serve() -> None:
    """An engine that waits as long as the last message says and replies with the time."""
    import asyncio
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def models(_request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": "scripted"}]})

    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        await asyncio.sleep(float(body["messages"][-1]["content"]))
        message = {"role": "assistant", "content": f"{time.monotonic():.6f}"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return JSONResponse({"id": "1", "model": "scripted", "choices": choices, "usage": usage})

    routes = [
        Route("/v1/models", models),
        Route("/v1/chat/completions", chat, methods=["POST"]),
    ]
    listening = socket.create_server(("127.0.0.1", 0), backlog=PROGRAMS)
    sys.stdout.write(f"{READY} {listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(Starlette(routes=routes), log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Of milliseconds."""
    ordered = sorted(values)
    at: Callable[[float], float] = lambda share: round(ordered[int(share * (len(ordered) - 1))], 4)  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)}


def main(*, programs: int = PROGRAMS, json: Path | None = None) -> None:
    """Measure and print.

    Parameters
    ----------
    programs
        That run at once.
    json
        File for the figures.
    """
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().removeprefix(READY).strip()}"
            os.sched_setaffinity(server.pid, {cores[-1]})
            os.sched_setaffinity(0, {cores[0]})
            calls = anyio.run(measure_calls, url)
            many = anyio.run(at_once, url, programs)
        finally:
            server.terminate()
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "calls": {name: quantiles(values) for name, values in calls.items()},
        "interception_ms": round(
            statistics.median(calls["intercepted"]) - statistics.median(calls["bare"]), 4
        ),
        "at_once": many,
    }
    show(report)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))


async def measure_calls(url: str) -> dict[str, list[float]]:
    """Milliseconds of each call, bare and intercepted."""
    async with connect(url) as runtime:
        return (await runtime.run(caller)).output


def show(report: dict[str, Any]) -> None:
    """The figures as a table."""
    many = report["at_once"]
    table = Table("ms", title=f"interception: {report['interception_ms']:.3f} ms per tool call")
    rows = {
        "a call of the bare function": report["calls"]["bare"],
        "an intercepted call": report["calls"]["intercepted"],
        f"lateness of a reply, {many['programs']:,} programs": many["reply_ms"],
        f"lateness after a tool, {many['programs']:,} programs": many["tool_ms"],
    }
    for heading in ("p50", "p99", "max"):
        table.add_column(heading, justify="right")
    for name, figures in rows.items():
        table.add_row(name, *(f"{figures[each]:.3f}" for each in ("p50", "p99", "max")))
    console = Console(width=100)
    console.print(table)
    console.print(
        f"{many['turns']:,} turns in {many['seconds']:.0f} s, the core busy {many['core_busy']:.0%}"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        run(main)
