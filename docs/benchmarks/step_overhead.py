"""What the plug-in adds to a scheduler step, and how soon a hint is answered meanwhile.

    .venv/bin/python docs/benchmarks/step_overhead.py --json step_overhead.json

Engines of stock SGLang, `lru` and `guard` stand side by side, with the same memory and under the
same load: 16 requests run, as many as may, 200 wait, and 1,000 programs pause whose KV fills the
memory. To `guard` half of them are expected back within minutes, the others in hours. Each request
is the first of a program that pauses after it, so the memory stays full: when a request ends its KV
joins that of the others, and some has to go.
They run for five seconds each in turn, while the others are stopped (SIGSTOP): the machine itself
may be a third slower in one minute than in the next. Every round has new processes, since one may
be 10 % faster than another by chance.
Measured is the time between two runs of the model in the scheduler process (`step_probe`), by the
wall clock and by the CPU clock of its thread, which other processes do not disturb. The model is
cut to its first layer, so that a decode step takes about as long as one on a GPU
and there are many of them.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import msgspec
from anyio.abc import TaskGroup
from cpu_attention import machine, random_tokens
from cyclopts import run
from engines import BenchEngine, engine
from rich.console import Console
from rich.table import Table
from step_probe import FIELDS, SAMPLES_VARIABLE

from agentrt_engine.wire.hints import HINTS_PATH
from agentrt_engine.wire.identity import PROGRAM_ID
from agentrt_engine.wire.programs import PROGRAMS_PATH, EngineSnapshot

STOCK = "stock"
SERVERS = (STOCK, "lru", "guard")
#: Prefill costs so little with a few layers that no KV would be worth keeping at the full price.
POLICIES = {"guard": "guard:price=0.05"}
PROBE = str(Path(__file__).with_name("step_probe.py"))

RUNNING, WAITING, IDLE = 16, 200, 1_000
MAX_RUNNING = 16
#: Contexts as long as the prompts, a hundredth of what agents have.
IDLE_TOKENS = 400
PROMPT_TOKENS, OUTPUT_TOKENS = 400, 300
#: Memory for the running ones, and what stays free besides that of the paused ones.
RUNNING_TOKENS = RUNNING * (PROMPT_TOKENS + OUTPUT_TOKENS // 2)
SPARE_TOKENS = 3_000

SETTLE_S = 12.0
SLICE_S = 5.0
#: A step that took longer is one in which the engine was stopped.
STOPPED_S = 1.0
HINTS = 100

#: How long idle programs are expected to pause: every other one so short that its KV is worth
#: holding.
SOON_S = {"0.5": 60.0, "0.95": 300.0}
LATE_S = {"0.5": 3600.0, "0.95": 7200.0}

DECODE, BEFORE, AFTER = KINDS = ("decode", "before a prefill", "after it")


@dataclass(slots=True)
class Samples:
    """Of one server; times in seconds.

    Attributes:
        wall, cpu: time between two runs of the model, one list per round.
        kinds: of all rounds by the wall clock, by what was run before and behind.
        steps: mean number of requests that ran and waited, and share of prefills, by round.
        held: idle programs with KV at the end of each round.
        hints: time until a hint was answered.
    """

    wall: list[list[float]] = field(default_factory=list)
    cpu: list[list[float]] = field(default_factory=list)
    kinds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    steps: list[tuple[float, float, float]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    hints: list[float] = field(default_factory=list)


def main(
    *,
    rounds: int = 3,
    seconds: float = 60.0,
    layers: int = 1,
    idle_tokens: int = IDLE_TOKENS,
    seed: int = 1,
    servers: Sequence[str] = SERVERS,
    json: Path | None = None,
) -> None:
    """Measure and print the table.

    Args:
        rounds: how often each server is started and measured.
        seconds: for which a server is measured in a round.
        layers: of the model.
        idle_tokens: of the context of each paused program.
        seed: of prompts and order.
        servers: "stock" and policies.
        json: file for the figures.
    """
    rng = random.Random(seed)
    found = {name: Samples() for name in servers}
    for index in range(rounds):
        with ExitStack() as running:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
            engines = {}
            for name in servers:
                say(f"round {index + 1}: start {name}")
                engines[name] = running.enter_context(
                    measured_engine(name, folder / name, layers, idle_tokens)
                )
            say(f"round {index + 1}: measure")
            loads = [
                Load(server, folder / name, idle_tokens, found[name])
                for name, server in engines.items()
            ]
            anyio.run(measure, loads, seconds, rng)
    report = {
        "machine": machine(),
        "seed": seed,
        "layers": layers,
        "idle_tokens": idle_tokens,
        "rounds": rounds,
        "seconds": seconds,
        "servers": {name: figures(samples) for name, samples in found.items()},
    }
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    show(report)


@contextmanager
def measured_engine(
    name: str, samples: Path, layers: int, idle_tokens: int
) -> Iterator[BenchEngine]:
    """An engine that writes its samples to a file."""
    with engine(
        None if name == STOCK else POLICIES.get(name, name),
        kv_tokens=RUNNING_TOKENS + SPARE_TOKENS + IDLE * (idle_tokens + 1),
        max_running=MAX_RUNNING,
        options=["--json-model-override-args", f'{{"num_hidden_layers": {layers}}}'],
        environment={SAMPLES_VARIABLE: str(samples)},
        main=[PROBE],
    ) as started:
        yield started


async def measure(loads: Sequence[Load], seconds: float, rng: random.Random) -> None:
    """One round: all servers in turn."""
    async with AsyncExitStack() as clients, anyio.create_task_group() as group:
        for load in loads:
            await load.begin(clients, group, rng)
        for _ in range(round(seconds / SLICE_S)):
            for load in rng.sample(loads, len(loads)):
                with load.going():
                    await anyio.sleep(SLICE_S)
        for load in loads:
            with load.going():
                await load.end()
        group.cancel_scope.cancel()


class Load:
    """A server and what is asked of it; it is stopped but for the time in which it is measured.

    Args:
        path: where it writes its samples.
    """

    def __init__(self, server: BenchEngine, path: Path, idle_tokens: int, found: Samples) -> None:
        self._server = server
        self._path = path
        self._idle_tokens = idle_tokens
        self._found = found
        self._skip = 0
        self._ours = False
        self._client: httpx2.AsyncClient

    @contextmanager
    def going(self) -> Iterator[None]:
        """It goes on meanwhile."""
        os.killpg(self._server.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self._server.pid, signal.SIGSTOP)

    async def begin(self, clients: AsyncExitStack, group: TaskGroup, rng: random.Random) -> None:
        """From idle to the load that is measured, which goes on in the group."""
        client = self._client = await clients.enter_async_context(
            httpx2.AsyncClient(
                base_url=self._server.url,
                timeout=None,
                limits=httpx2.Limits(max_connections=None),
            )
        )
        with self.going():
            self._ours = (await client.get(PROGRAMS_PATH)).status_code == httpx2.codes.OK
            await pause_programs(client, self._idle_tokens, self._ours)
            for _ in range(RUNNING + WAITING):
                group.start_soon(keep_asking, client, random.Random(rng.random()))
            await anyio.sleep(SETTLE_S)
        self._skip = self._path.stat().st_size

    async def end(self) -> None:
        """Note what was measured."""
        found = self._found
        note_steps(self._path, self._skip, found)
        if self._ours:
            found.held.append(await held_programs(self._client))
            found.hints += await anyio.to_thread.run_sync(hint_times, self._server.url)


async def pause_programs(client: httpx2.AsyncClient, tokens: int, ours: bool) -> None:
    """1,000 programs with one short turn each, which now wait for a tool."""
    left = iter(range(IDLE))

    async def start_some() -> None:
        for at in left:
            prompt = random_tokens(random.Random(f"idle/{at}"), tokens)
            await generate(client, prompt, 1, {PROGRAM_ID: f"idle-{at}"})

    async with anyio.create_task_group() as group:
        for _ in range(MAX_RUNNING):
            group.start_soon(start_some)
    if not ours:
        return
    for first in range(0, IDLE, 250):
        hints = [tool_started(at) for at in range(first, first + 250)]
        (await client.post(HINTS_PATH, json=hints)).raise_for_status()


def tool_started(at: int) -> dict[str, Any]:
    """The hint that an idle program waits for a tool."""
    return {
        "program_id": f"idle-{at}",
        "kind": "tool_started",
        "tool": "t",
        "expected_s": LATE_S if at % 2 else SOON_S,
    }


async def keep_asking(client: httpx2.AsyncClient, rng: random.Random) -> None:
    """The first turn of one program after the other."""
    while True:
        program = {PROGRAM_ID: f"busy-{rng.getrandbits(64):x}"}
        output = rng.randrange(OUTPUT_TOKENS // 2, OUTPUT_TOKENS)
        await generate(client, random_tokens(rng, PROMPT_TOKENS), output, program)


async def generate(
    client: httpx2.AsyncClient, prompt: list[int], tokens: int, headers: dict[str, str]
) -> None:
    """One turn."""
    sampling = {"temperature": 0, "max_new_tokens": tokens, "ignore_eos": True}
    body = {"input_ids": prompt, "sampling_params": sampling}
    (await client.post("/generate", json=body, headers=headers)).raise_for_status()


async def held_programs(client: httpx2.AsyncClient) -> int:
    """Paused programs with KV."""
    answer = await client.get(f"{PROGRAMS_PATH}?limit=10000")
    snapshot = msgspec.json.decode(answer.content, type=EngineSnapshot)
    return sum(row.held_tokens > 0 for row in snapshot.programs)


def hint_times(url: str) -> list[float]:
    """Seconds until each of some hints was answered, sent now and then over one connection."""
    body = msgspec.json.encode(tool_started(0))
    with connected(url) as connection:
        times = []
        for _ in range(HINTS):
            time.sleep(0.02)
            times.append(answer_time(connection, "POST", HINTS_PATH, body))
    return times


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    """One connection to a server."""
    address = httpx2.URL(url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def answer_time(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
) -> float:
    """Seconds until one request is answered."""
    started = time.perf_counter()
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - started
    assert answer.status == httpx2.codes.OK, answer.status
    return seconds


def note_steps(path: Path, skip: int, found: Samples) -> None:
    """The samples written to the file beyond its first bytes."""
    values = array("d", path.read_bytes()[skip:])
    _when, wall, cpu, prefill, run_now, wait = (list(values[at::FIELDS]) for at in range(FIELDS))
    kinds = [
        BEFORE if is_prefill else AFTER if was_prefill else DECODE
        for was_prefill, is_prefill in pairwise([0.0, *prefill])
    ]
    steps = [step for step in zip(wall, cpu, kinds, strict=True) if step[0] < STOPPED_S]
    found.wall.append([wall_s for wall_s, _cpu_s, _kind in steps])
    found.cpu.append([cpu_s for _wall_s, cpu_s, _kind in steps])
    for wall_s, _cpu_s, kind in steps:
        found.kinds[kind].append(wall_s)
    mean = statistics.fmean
    found.steps.append((mean(run_now), mean(wait), mean(prefill)))


def figures(samples: Samples) -> dict[str, Any]:
    """What is reported of a server; times in milliseconds."""
    return {
        "samples": sum(map(len, samples.wall)),
        "wall_ms": quantiles([value for values in samples.wall for value in values]),
        "cpu_ms": quantiles([value for values in samples.cpu for value in values]),
        "wall_ms_by_round": [quantiles(values) for values in samples.wall],
        "cpu_ms_by_round": [quantiles(values) for values in samples.cpu],
        "wall_ms_by_kind": {kind: quantiles(times) for kind, times in samples.kinds.items()},
        "running_waiting_prefills": samples.steps,
        "held_programs": samples.held,
        "hint_ms": quantiles(samples.hints) if samples.hints else None,
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Mean, median and p99, milliseconds."""
    ordered = sorted(seconds)
    return {
        "mean": round(1e3 * statistics.fmean(ordered), 4),
        "p50": round(1e3 * statistics.median(ordered), 4),
        "p99": round(1e3 * ordered[int(0.99 * (len(ordered) - 1))], 4),
    }


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=100)
    view = Table(box=None, pad_edge=False)
    for heading in ("between two model runs", "clock", "p50 ms", "p99 ms", "mean ms", "steps"):
        view.add_column(heading, justify="left" if heading[0] in "bc" else "right")
    servers: dict[str, Any] = report["servers"]
    stock = servers.get(STOCK)
    for name, measured in servers.items():
        for clock in ("wall", "cpu"):
            values = measured[f"{clock}_ms"]
            cells = [f"{values[kind]:.3f}" for kind in ("p50", "p99", "mean")]
            if stock is not None and name != STOCK:
                cells = [
                    f"{cell} ({values[kind] - stock[f'{clock}_ms'][kind]:+.3f})"
                    for cell, kind in zip(cells, ("p50", "p99", "mean"), strict=True)
                ]
            view.add_row(name, clock, *cells, f"{measured['samples']:,}")
    console.print(view)
    for name, measured in servers.items():
        for running, waiting, prefills in measured["running_waiting_prefills"]:
            console.print(
                f"{name}: {running:.1f} ran, {waiting:.0f} waited, {prefills:.1%} prefills"
            )
        kinds = measured["wall_ms_by_kind"].items()
        medians = ", ".join(f"{kind} {values['p50']:.2f}" for kind, values in kinds)
        console.print(f"{name}: p50 by kind of step, ms: {medians}")
        if measured["held_programs"]:
            console.print(f"{name}: paused programs with KV at the end {measured['held_programs']}")
        if (hints := measured["hint_ms"]) is not None:
            console.print(f"{name}: hint p50 {hints['p50']:.2f} ms, p99 {hints['p99']:.2f} ms")


def say(what: str) -> None:
    """Progress."""
    print(f"{what} …", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    run(main)
