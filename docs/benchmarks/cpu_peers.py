"""Our engine on the CPU beside others: one stream, 8 and 16 at once, and prefill, in one session.

    .venv/bin/python docs/benchmarks/cpu_peers.py \\
        --peer "vllm-cpu=ENV/bin/python docs/benchmarks/peers/vllm_peer.py MODEL-FOLDER"

Ours and stock SGLang are asked over HTTP, as their users do. A peer is a command that speaks the
protocol of `peers/protocol.py`, in an environment of its own: its generator is called directly.
All of them are up at once, those that wait are stopped (SIGSTOP), and each measurement goes round
all of them before the next. Prompts are random tokens, never the same twice. Nothing else should
compute on the machine meanwhile.
"""

from __future__ import annotations

import os
import platform
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import httpx2
import msgspec
from cpu_attention import VOCABULARY, our_engine, stock_engine
from cyclopts import run
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agentrt_engine.sglang.options import DType

#: Streams at once, and how many tokens each generates.
STREAMS = {1: 128, 8: 64, 16: 64}
PROMPT_TOKENS = 32
PREFILL_TOKENS = 2_000


class Peer(Protocol):
    """One engine."""

    group: int

    def seconds(self, prompts: list[list[int]], new: int) -> float:
        """How long it takes to generate `new` tokens for each of the prompts, all at once."""


class Http:
    """An SGLang server."""

    def __init__(self, url: str, group: int) -> None:
        self.group = group
        self._client = httpx2.Client(base_url=url, timeout=300)
        self._threads = ThreadPoolExecutor(max(STREAMS))

    def seconds(self, prompts: list[list[int]], new: int) -> float:
        """See `Peer`."""

        def one(ids: list[int]) -> None:
            sampling = {"max_new_tokens": new, "temperature": 0, "ignore_eos": True}
            body = {"input_ids": ids, "sampling_params": sampling}
            self._client.post("/generate", json=body).raise_for_status()

        started = perf_counter()
        list(self._threads.map(one, prompts))
        return perf_counter() - started


class Process:
    """A peer in an environment of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.group = process.pid
        self.version: str = self._read()["version"]

    def seconds(self, prompts: list[list[int]], new: int) -> float:
        """See `Peer`."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"prompts": prompts, "new": new}) + b"\n")
        self._process.stdin.flush()
        seconds: float = self._read()["seconds"]
        return seconds

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a peer ended: {self._process.args!r}")
        message: dict[str, Any] = msgspec.json.decode(line)
        return message


@contextmanager
def peer_process(command: str) -> Iterator[Process]:
    """Start a peer; its output goes to standard error."""
    process = subprocess.Popen(
        shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield Process(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def awake(peer: Peer) -> Iterator[None]:
    """Let a stopped engine run for the time of a measurement."""
    os.killpg(peer.group, signal.SIGCONT)
    yield
    os.killpg(peer.group, signal.SIGSTOP)


def main(
    *, peer: list[str] | None = None, rounds: int = 5, seed: int = 1, json: Path | None = None
) -> None:
    """Measure and print the table.

    Args:
        peer: NAME=COMMAND, of engines beside ours and stock SGLang.
        rounds: how often each measurement is taken on each engine.
        seed: of the random prompts.
        json: file for all samples.
    """
    rng = random.Random(seed)
    samples: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as running:
        engines: dict[str, Peer] = {}
        versions = {}
        for name, server in (("agentrt", our_engine), ("SGLang", stock_engine)):
            url = running.enter_context(server(DType.BFLOAT16))
            engines[name] = Http(url, group_behind(url))
        for each in peer or ():
            name, _, command = each.partition("=")
            started = running.enter_context(peer_process(command))
            engines[name], versions[name] = started, started.version
        for engine in engines.values():
            measure(engine, rng)  # compiles, allocates
            os.killpg(engine.group, signal.SIGSTOP)
        for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
            for name in rng.sample(list(engines), len(engines)):
                with awake(engines[name]):
                    for what, rate in measure(engines[name], rng).items():
                        samples.setdefault(name, {}).setdefault(what, []).append(rate)
        for engine in engines.values():
            os.killpg(engine.group, signal.SIGCONT)
    print_table(samples)
    if json is not None:
        about = {"cpu": platform.processor(), "cores": os.cpu_count(), "versions": versions}
        document = {"about": about | {"rounds": rounds, "seed": seed}, "samples": samples}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def measure(engine: Peer, rng: random.Random) -> dict[str, float]:
    """Tokens per second: decoded by 1, 8 and 16 streams, and prefilled."""

    def prompts(count: int, tokens: int) -> list[list[int]]:
        return [[rng.choice(VOCABULARY) for _ in range(tokens)] for _ in range(count)]

    rates = {}
    for streams, new in STREAMS.items():
        first = engine.seconds(prompts(streams, PROMPT_TOKENS), 1)
        whole = engine.seconds(prompts(streams, PROMPT_TOKENS), new + 1)
        rates[f"{streams} at once"] = streams * new / (whole - first)
    rates["prefill"] = PREFILL_TOKENS / engine.seconds(prompts(1, PREFILL_TOKENS), 1)
    return rates


def group_behind(url: str) -> int:
    """Process group of the server that listens at a URL of this machine."""
    port = httpx2.URL(url).port
    assert port is not None
    wanted = f":{port:04X}"
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and fields[1].endswith(wanted)
    }
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.removeprefix("socket:[").removesuffix("]") in inodes:
            return os.getpgid(int(descriptor.parts[2]))
    raise LookupError(f"nothing listens at {url}")


def _spread(values: list[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def print_table(samples: dict[str, dict[str, list[float]]]) -> None:
    """Medians, with the least and the most."""
    table = Table("tokens/s", *next(iter(samples.values())))
    for name, rates in samples.items():
        table.add_row(name, *map(_spread, rates.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    run(main)
