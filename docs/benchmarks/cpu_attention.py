"""Our CPU attention backend against SGLang's `torch_native`, side by side.

    .venv/bin/python docs/benchmarks/cpu_attention.py --json cpu_attention.json

Two engines run at once, one with each backend, everything else equal; every measurement is
taken on both in turn. An idle engine sleeps, so the one that waits does not disturb the other.
Nothing else should compute on the machine meanwhile.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
from cyclopts import run
from rich.console import Console
from rich.table import Table

from agentrt_engine.sglang.flag import OWNED_VARIABLE
from agentrt_engine.sglang.options import (
    ATTENTION_BACKEND,
    DType,
    EngineOptions,
    engine_options,
)
from agentrt_engine.sglang.ports import free_port
from agentrt_engine.sglang.server import start_engine

OURS, STOCK = ATTENTION_BACKEND, "torch_native"
PROMPT_TOKENS = 2_000
BATCH, BATCH_CONTEXT, BATCH_TOKENS = 8, 1_000, 32
STEP_TOKENS = 16
VOCABULARY = range(1_000, 49_000)

Samples = dict[str, list[float]]


def main(
    *, rounds: int = 7, seed: int = 1, dtype: DType = DType.BFLOAT16, json: Path | None = None
) -> None:
    """Measure and print the table.

    Args:
        rounds: how often each measurement is taken on each engine.
        seed: of the random prompts.
        dtype: precision of both engines.
        json: file for all samples.
    """
    rng = random.Random(seed)
    measurements: dict[str, Samples] = {}
    with ExitStack() as running:
        engines = {
            OURS: running.enter_context(our_engine(dtype)),
            STOCK: running.enter_context(stock_engine(dtype)),
        }

        def measure(name: str, sample: Callable[[str], float], prepare: Callable[[], None]) -> None:
            print(f"{name} …", file=sys.stderr)  # noqa: T201
            samples: Samples = {backend: [] for backend in engines}
            for _ in range(rounds):
                prepare()
                for backend in rng.sample(list(engines), len(engines)):
                    samples[backend].append(sample(engines[backend]))
            measurements[name] = samples

        prompt: list[int] = []

        def cache_prompt() -> None:
            prompt[:] = random_tokens(rng, PROMPT_TOKENS)
            for url in engines.values():
                generate(url, prompt[:-1], 1)

        measure("cached 1,999 of 2,000: s to answer", lambda url: answer(url, prompt), cache_prompt)
        measure("decode step at 2,000: s", lambda url: decode_step(url, prompt), cache_prompt)

        prompts: list[list[int]] = []

        def cache_batch() -> None:
            prompts[:] = [random_tokens(rng, BATCH_CONTEXT) for _ in range(BATCH)]
            for url in engines.values():
                generate_all(url, prompts, 1)

        measure(
            "batch of 8 at 1,000: s per step", lambda url: batch_step(url, prompts), cache_batch
        )

        def forget() -> None:
            prompt[:] = random_tokens(rng, PROMPT_TOKENS)
            for url in engines.values():
                httpx2.post(f"{url}/flush_cache", timeout=60).raise_for_status()

        measure("cold 2,000: s to answer", lambda url: generate(url, prompt, 1)[0], forget)

    Console(width=100).print(table(measurements))
    if json is not None:
        report = {"machine": machine(), "dtype": dtype, "seed": seed, "samples": measurements}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


@contextmanager
def our_engine(dtype: DType) -> Iterator[str]:
    """An engine as `agentrt serve` starts it; yields its URL."""
    process = anyio.run(start_engine, options(dtype))
    try:
        yield process.url
    finally:
        process.stop(grace_s=0.0)


@contextmanager
def stock_engine(dtype: DType) -> Iterator[str]:
    """The same without the plug-in's flag and on `torch_native`; yields its URL."""
    chosen = options(dtype)
    arguments = chosen.sglang_arguments()
    arguments[arguments.index("--attention-backend") + 1] = STOCK
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "agentrt_engine.sglang.launch", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", OWNED_VARIABLE: "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not healthy(chosen.url):
            if process.poll() is not None:
                sys.exit(f"stock SGLang ended with exit code {process.returncode}")
            time.sleep(0.5)
        yield chosen.url
    finally:
        assert process.stdin is not None
        process.stdin.close()  # the engine ends with its owner's pipe
        process.wait()


def options(dtype: DType) -> EngineOptions:
    """What both engines are started with."""
    return engine_options(port=free_port(), kv_tokens=32_768, dtype=dtype)


def healthy(url: str) -> bool:
    """Whether the engine answers."""
    try:
        return httpx2.get(f"{url}/health", timeout=10).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def random_tokens(rng: random.Random, count: int) -> list[int]:
    """A prompt that shares no prefix with another."""
    return [rng.choice(VOCABULARY) for _ in range(count)]


def generate(url: str, prompt: list[int], tokens: int) -> tuple[float, dict[str, Any]]:
    """Seconds until the whole answer was there, and what SGLang says about it."""
    sampling = {"temperature": 0, "max_new_tokens": tokens, "ignore_eos": True}
    started = time.perf_counter()
    reply = httpx2.post(
        f"{url}/generate", json={"input_ids": prompt, "sampling_params": sampling}, timeout=600
    )
    seconds = time.perf_counter() - started
    reply.raise_for_status()
    meta: dict[str, Any] = reply.json()["meta_info"]
    return seconds, meta


def generate_all(url: str, prompts: list[list[int]], tokens: int) -> float:
    """Seconds until all prompts, sent at once, were answered."""
    with ThreadPoolExecutor(len(prompts)) as pool:
        started = time.perf_counter()
        list(pool.map(lambda prompt: generate(url, prompt, tokens), prompts))
        return time.perf_counter() - started


def answer(url: str, prompt: list[int]) -> float:
    """One token after a prompt that is cached but for its last token."""
    seconds, meta = generate(url, prompt, 1)
    assert meta["cached_tokens"] == len(prompt) - 1, meta
    return seconds


def decode_step(url: str, prompt: list[int]) -> float:
    """Seconds per generated token beyond the first."""
    first, _ = generate(url, prompt, 1)
    all_of_them, _ = generate(url, prompt, 1 + STEP_TOKENS)
    return (all_of_them - first) / STEP_TOKENS


def batch_step(url: str, prompts: list[list[int]]) -> float:
    """Seconds per step in which every sequence of the batch gets a token."""
    first = generate_all(url, prompts, 1)
    all_of_them = generate_all(url, prompts, 1 + BATCH_TOKENS)
    return (all_of_them - first) / BATCH_TOKENS


def table(measurements: dict[str, Samples]) -> Table:
    """Medians, ranges, and how many times sooner ours is."""
    view = Table(box=None, pad_edge=False)
    view.add_column("median [range]")
    for heading in (OURS, STOCK, "ratio"):
        view.add_column(heading, justify="right", no_wrap=True)
    for name, samples in measurements.items():
        medians = {backend: statistics.median(values) for backend, values in samples.items()}
        cells = [
            f"{medians[backend]:.4f} [{min(samples[backend]):.4f}–{max(samples[backend]):.4f}]"
            for backend in (OURS, STOCK)
        ]
        view.add_row(name, *cells, f"{medians[STOCK] / medians[OURS]:.1f}")
    return view


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: version(name) for name in ("agentrt", "sglang", "torch")},
    }


if __name__ == "__main__":
    run(main)
