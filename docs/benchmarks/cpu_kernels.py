"""Native CPU kernels against torch's: how near each comes to the rate of a plain sum.

    OMP_NUM_THREADS=1 .venv/bin/python docs/benchmarks/cpu_kernels.py --json cpu_kernels.json

Decode attention at three contexts and two batch sizes, and the linear layers of SmolLM2-135M, in
bfloat16. Everything is read from memory: each call takes other keys or weights, until more has
been read than a cache holds. Every round takes all measurements in a random order, torch's among
them, and sums up and copies a large block beside them. Nothing else should compute meanwhile.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import torch
from cyclopts import run
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from agentrt_engine.kernels.native.attention import NativeBatch
from agentrt_engine.kernels.native.library import Library, library
from agentrt_engine.kernels.native.linear import linear
from agentrt_engine.kernels.paged_attention_cpu import (
    PagedSequence,
    paged_attention,
    paged_decode,
)

HEADS, KV_HEADS, SIZE = 9, 3, 64
CONTEXTS, BATCHES = (1_000, 4_000, 16_000), (1, 8)
#: Rows and columns of the weights of a layer, and of the last one.
LINEAR = {
    "qkv": (960, 576),
    "output": (576, 576),
    "gate and up": (3_072, 576),
    "down": (576, 1_536),
    "logits": (49_152, 576),
}
INPUT_ROWS = (1, 8)
#: More than a cache holds.
BYTES = 320_000_000
SAMPLE_S = 0.05

Call = Callable[[], object]


@dataclass(frozen=True)
class Measurement:
    """One thing that is measured: who does what, and how many bytes a call reads."""

    name: str
    by: str
    bytes: int
    call: Call


def main(*, rounds: int = 7, seed: int = 1, json: Path | None = None) -> None:
    """Measure and print the table.

    Args:
        rounds: how often each measurement is taken.
        seed: of the order and the numbers.
        json: file for all samples.
    """
    native = library()
    if native is None:
        sys.exit("there are no native kernels here: the log above says why")
    torch.manual_seed(seed)
    rng = random.Random(seed)
    measurements = [*memory(), *attention(), *linears(native)]
    samples: dict[str, dict[str, list[float]]] = {each.name: {} for each in measurements}
    for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
        for each in rng.sample(measurements, len(measurements)):
            rate = each.bytes / seconds(each.call) / 1e9
            samples[each.name].setdefault(each.by, []).append(rate)
    Console(width=100).print(table(samples))
    if json is not None:
        report = {"machine": machine(native), "seed": seed, "gigabytes_per_s": samples}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def memory() -> list[Measurement]:
    """What the others are held against."""
    block = torch.ones(BYTES // 4)
    other = torch.empty_like(block)
    return [
        Measurement("memory: sum", "torch", BYTES, block.sum),
        Measurement("memory: copy", "torch", 2 * BYTES, lambda: other.copy_(block)),
    ]


def attention() -> list[Measurement]:
    """One layer's decode attention, at each context and batch size."""
    found = []
    row_bytes = 2 * KV_HEADS * SIZE * 2
    rows = max(BYTES // row_bytes, max(CONTEXTS) * max(BATCHES))
    keys, values = torch.randn(2, rows, KV_HEADS, SIZE).bfloat16()
    for context in CONTEXTS:
        for batch in BATCHES:
            query = torch.randn(batch, HEADS, SIZE).bfloat16()
            output = torch.empty_like(query)
            tokens = batch * context
            tables = [
                torch.arange(first, first + tokens, dtype=torch.int32).view(batch, context)
                for first in range(0, rows - tokens + 1, tokens)
            ]
            found += [
                Measurement(
                    f"attention: {batch} × {context:,}",
                    by,
                    tokens * row_bytes,
                    make(query, keys, values, tables, output),
                )
                for by, make in (("native", native_attention), ("torch", torch_attention))
            ]
    return found


def native_attention(
    query: Tensor, keys: Tensor, values: Tensor, tables: list[Tensor], output: Tensor
) -> Call:
    """All sequences in one call."""
    batch, context = tables[0].shape
    slots, lengths = torch.arange(batch), torch.full((batch,), context)
    batches = cycle([NativeBatch.of_table(table, slots, lengths) for table in tables])
    return lambda: paged_decode(query, keys, values, next(batches), SIZE**-0.5, output)


def torch_attention(
    query: Tensor, keys: Tensor, values: Tensor, tables: list[Tensor], output: Tensor
) -> Call:
    """One sequence after the other, gathered first."""
    group = HEADS // KV_HEADS
    batches = cycle([[PagedSequence.of(row.long(), 1, group) for row in table] for table in tables])

    def call() -> None:
        for at, sequence in enumerate(next(batches)):
            own = slice(at, at + 1)
            paged_attention(query[own], keys, values, sequence, SIZE**-0.5, output[own])

    return call


def linears(native: Library) -> list[Measurement]:
    """The linear layers, with one row of input and with some."""
    found = []
    for name, (outputs, size) in LINEAR.items():
        one = outputs * size * 2
        weights = [torch.randn(outputs, size).bfloat16() for _ in range(-(-BYTES // one))]
        for rows in INPUT_ROWS:
            inputs = torch.randn(rows, size).bfloat16()
            ours, theirs = cycle(weights), cycle(weights)
            title = f"{name}: {rows} × {size:,} → {outputs:,}"
            found += [
                Measurement(title, "native", one, _over(partial(linear, native), inputs, ours)),
                Measurement(title, "torch", one, _over(functional.linear, inputs, theirs)),
            ]
    return found


def _over(
    product: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, weights: Iterator[Tensor]
) -> Call:
    def call() -> None:
        product(inputs, next(weights))

    return call


def seconds(call: Call) -> float:
    """Of one call, as the mean of as many as fill the time of a sample."""
    calls, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < SAMPLE_S:
        call()
        calls += 1
    return spent / calls


def table(samples: dict[str, dict[str, list[float]]]) -> Table:
    """Medians and ranges in GB/s, the share of the rate of torch.sum, and native over torch."""
    view = Table(box=None, pad_edge=False)
    view.add_column("GB/s, median [range]")
    for heading in ("native", "torch", "of summing", "ratio"):
        view.add_column(heading, justify="right", no_wrap=True)
    summing = statistics.median(samples["memory: sum"]["torch"])
    for name, by in samples.items():
        medians = {who: statistics.median(rates) for who, rates in by.items()}
        cells = [
            f"{medians[who]:.1f} [{min(by[who]):.1f}–{max(by[who]):.1f}]" if who in by else ""
            for who in ("native", "torch")
        ]
        if "native" in by:
            share = f"{100 * medians['native'] / summing:.0f} %"
            cells += [share, f"{medians['native'] / medians['torch']:.1f}"]
        view.add_row(name, *cells)
    return view


def machine(native: Library) -> dict[str, Any]:
    """What the figures were measured on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "level": native.best.name,
        "python": platform.python_version(),
        **{name: version(name) for name in ("agentrt", "torch")},
    }


if __name__ == "__main__":
    run(main)
