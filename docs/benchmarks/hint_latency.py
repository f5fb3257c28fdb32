"""How soon an idle engine answers a hint, and what of it SGLang and the machine take.

    .venv/bin/python docs/benchmarks/hint_latency.py --json hint_latency.json

A hint goes to the scheduler and back. Beside it stands `/model_info`, which SGLang's HTTP process
answers by itself. Both are asked over one connection, in blocks that take turns: now and then, so
that the machine falls asleep in between and finds its caches cold, and one right behind the other.
Every round has new processes: of an engine that sleeps when it is idle, and of one whose scheduler
stays awake.
"""

from __future__ import annotations

import random
import time
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from cpu_attention import machine
from cyclopts import run
from engines import engine
from rich.console import Console
from rich.progress import track
from rich.table import Table
from step_overhead import answer_time, connected, quantiles, tool_started

from agentrt_engine.wire.hints import HINTS_PATH
from agentrt_engine.wire.identity import PROGRAM_ID

#: What is asked: method, path and body.
ASKED = {
    "hint": ("POST", HINTS_PATH, msgspec.json.encode(tool_started(0))),
    "/model_info": ("GET", "/model_info", None),
}

#: Seconds between two questions.
PAUSES = {"now and then": 0.02, "in a row": 0.0}

ASLEEP, AWAKE = "asleep", "awake"
BLOCKS = 6

#: A scheduler, what is asked, and how.
Case = tuple[str, str, str]


def main(*, rounds: int = 5, questions: int = 50, seed: int = 1, json: Path | None = None) -> None:
    """Measure and print the table.

    Args:
        rounds: how often the engines are started.
        questions: in a block.
        seed: of the order of blocks.
        json: file for the figures.
    """
    rng = random.Random(seed)
    found: dict[Case, list[list[float]]] = {}
    for _round, scheduler in track(list(product(range(rounds), (ASLEEP, AWAKE))), "engines"):
        without = ["--sleep-on-idle"] if scheduler == AWAKE else []
        with engine("guard", kv_tokens=4_096, without=without) as server:
            generate_once(server.url)
            times = ask_in_turn(server.url, questions, rng)
        for (asked, pause), seconds in times.items():
            found.setdefault((scheduler, asked, pause), []).append(seconds)
    report: dict[str, Any] = {
        "machine": machine(),
        "seed": seed,
        "questions": questions * BLOCKS,
        "answers": [
            {"scheduler": scheduler, "asked": asked, "pause": pause, **figures(by_round)}
            for (scheduler, asked, pause), by_round in sorted(found.items())
        ],
    }
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    show(report["answers"])


def ask_in_turn(url: str, questions: int, rng: random.Random) -> dict[tuple[str, str], list[float]]:
    """Seconds until each question was answered, by what was asked and how."""
    cases = list(product(ASKED, PAUSES))
    times: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    blocks = [case for _ in range(BLOCKS) for case in rng.sample(cases, len(cases))]
    with connected(url) as connection:
        for asked, pause in blocks:
            for _ in range(questions):
                time.sleep(PAUSES[pause])
                times[asked, pause].append(answer_time(connection, *ASKED[asked]))
    return times


def generate_once(url: str) -> None:
    """One turn of the program that hints are about."""
    body = {"input_ids": [5_000] * 400, "sampling_params": {"max_new_tokens": 1}}
    headers = {PROGRAM_ID: "idle-0"}
    httpx2.post(f"{url}/generate", json=body, headers=headers, timeout=60).raise_for_status()


def figures(by_round: list[list[float]]) -> dict[str, Any]:
    """What is reported of a case, milliseconds."""
    every = quantiles([seconds for times in by_round for seconds in times])
    return {
        "p50_ms": every["p50"],
        "p99_ms": every["p99"],
        "p50_ms_by_round": [quantiles(times)["p50"] for times in by_round],
    }


def show(answers: list[dict[str, Any]]) -> None:
    """Print the table."""
    view = Table(box=None, pad_edge=False)
    for heading in ("scheduler", "asked", "", "p50 ms", "by round", "p99 ms"):
        view.add_column(heading, justify="right" if heading.startswith("p") else "left")
    for row in answers:
        rounds = row["p50_ms_by_round"]
        view.add_row(
            row["scheduler"],
            row["asked"],
            row["pause"],
            f"{row['p50_ms']:.2f}",
            f"{min(rounds):.2f}–{max(rounds):.2f}",
            f"{row['p99_ms']:.2f}",
        )
    Console(width=100).print(view)


if __name__ == "__main__":
    run(main)
