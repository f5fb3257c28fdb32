"""Runs that crash, everywhere and at any time: is anything lost, or done twice unnoticed?

    .venv/bin/python docs/benchmarks/crashes.py --json crashes.json

First at points that are enumerated, in one process (`crash_points`), then by `kill -9` of real
commands at random times (`crash_kills`), also of some that use a real engine (`crash_engine`); and
what an event of the journal costs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from cpu_attention import machine
from crash_engine import kill_on_engine
from crash_kills import kill_and_resume
from crash_points import crash_everywhere
from cyclopts import run
from rich.console import Console

from agentrt.journal import Durability
from agentrt.journal.events import TurnEnded
from agentrt.journal.store import Store

EVENTS = 1_000

#: Characters of a reply.
REPLY = 600


def main(
    *,
    points: int = 10_000,
    kills: int = 100,
    engine_kills: int = 40,
    seed: int = 1,
    json: Path | None = None,
) -> int:
    """Crash, resume, check, print.

    Args:
        points: crashes at enumerated points; kills: of real commands; engine_kills: of real
            commands on a real engine.
        seed: of workloads and times.
        json: file for the figures.
    """
    console = Console(width=100)
    report: dict[str, Any] = {"machine": machine(), "seed": seed}
    parts: list[tuple[str, Callable[[int, int], Any], int]] = [
        ("points", crash_everywhere, points),
        ("kills", kill_and_resume, kills),
        ("engine_kills", kill_on_engine, engine_kills),
    ]
    for name, crash, most in parts:
        if not most:
            continue
        began = time.monotonic()
        found = asdict(crash(most, seed))
        report[name] = found | {"seconds": round(time.monotonic() - began, 1)}
        defects = found.pop("defects")
        console.print(
            f"{', '.join(f'{what}: {count:,}' for what, count in found.items())}; ", end=""
        )
        console.print(f"defects: {len(defects)}; {report[name]['seconds']:.0f} s")
        for defect in defects[:20]:
            console.print(f"- {defect}", markup=False)
    report["event_ms"] = {each.value: event_ms(each) for each in Durability}
    for durability, times in report["event_ms"].items():
        console.print(
            f"an event, {durability}: p50 {times['p50']:.3f} ms, p99 {times['p99']:.3f} ms"
        )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return int(any(report[name]["defects"] for name, _crash, most in parts if most))


def event_ms(durability: Durability) -> dict[str, float]:
    """Milliseconds to append a reply."""
    event = TurnEnded("program", "digest", 0.0, 1.0, True, "x" * REPLY, "stop", 1_000, 150)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), durability=durability)
        for _ in range(EVENTS):
            began = time.perf_counter()
            store.append(event)
            times.append(1e3 * (time.perf_counter() - began))
        store.close()
    times.sort()
    return {
        "p50": round(statistics.median(times), 4),
        "p99": round(times[int(0.99 * (EVENTS - 1))], 4),
    }


if __name__ == "__main__":
    run(main)
