"""Hours of random programs in minutes: does the engine leak, wedge, crash or change its answers?

    .venv/bin/python docs/benchmarks/soak.py --minutes 30 --seed 1 --json soak.json

One engine with little KV memory, two API keys and SGLang's memory checks at their strictest. At
the end of every epoch the clients stop, and the engine is looked over (`soak_checks`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
from cpu_attention import machine
from cyclopts import run
from engines import BenchEngine, engine
from rich.console import Console
from rich.table import Table
from soak_checks import Checks, growth, resident_mb
from soak_storm import Storm
from soak_traffic import Traffic

from agentrt_engine.sglang.options import DType

KEYS = ["soak-key-one", "soak-key-two"]

#: Little enough that clients are always short of it.
KV_TOKENS = 2_048
MAX_RUNNING = 12
CLIENTS = 14
MOST_TOKENS = 700

#: A model of a fifth of the layers, for five times the traffic. Prompts come in several chunks,
#: and requests start with hardly any memory set aside for what they generate.
OPTIONS = (
    *("--json-model-override-args", '{"num_hidden_layers": 6}'),
    *("--chunked-prefill-size", "128"),
    *("--schedule-conservativeness", "0.1"),
)

EPOCH_S = 30.0
SAMPLE_S = 2.0

#: What a process may grow by, MB per hour, once a soak is long enough to tell.
GROWTH_MB_PER_HOUR = 60.0
LONG_S = 900.0

#: SGLang counts its KV after every step, and whatever does not add up ends the scheduler.
ENVIRONMENT = {
    "SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY": "1",
    "SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE": "1",
    "SGLANG_CHECK_KV_PAGE_INVARIANTS": "1",
    "SGLANG_ENABLE_TREE_CACHE_SANITY_CHECK": "1",
    # Retract requests now and then, whether memory is short or not.
    "SGLANG_TEST_RETRACT": "1",
    "SGLANG_TEST_RETRACT_INTERVAL": "50",
}


def main(
    *, minutes: float = 30.0, seed: int = 1, policy: str = "guard", json: Path | None = None
) -> int:
    """Run it and print what was found.

    Args:
        minutes: of traffic; the checks come on top of it.
        seed: of everything the clients do.
        policy: that the engine runs.
        json: file for the report.
    """
    with engine(
        policy,
        kv_tokens=KV_TOKENS,
        dtype=DType.FLOAT32,
        max_running=MAX_RUNNING,
        api_keys=KEYS,
        options=OPTIONS,
        environment=ENVIRONMENT,
    ) as under_test:
        report = anyio.run(_soak, under_test, minutes * 60, seed)
    report = {"machine": machine(), "policy": policy, "seed": seed, "minutes": minutes, **report}
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    _print(report)
    return 1 if report["defects"] else 0


async def _soak(under_test: BenchEngine, seconds: float, seed: int) -> dict[str, Any]:
    traffic = Traffic(under_test.url, KEYS, seed, MOST_TOKENS)
    checks = Checks(under_test, traffic, seed)
    memory: list[tuple[float, dict[str, float]]] = []
    started = time.monotonic()

    async def watch_memory() -> None:
        while True:
            memory.append((time.monotonic() - started, resident_mb(under_test.pid)))
            await anyio.sleep(SAMPLE_S)

    epochs = max(2, round(seconds / EPOCH_S))
    epoch = 0
    try:
        await checks.remember_answers()
        async with traffic.besides(watch_memory):
            for epoch in range(epochs):
                print(f"epoch {epoch + 1} of {epochs} …", file=sys.stderr)  # noqa: T201
                async with traffic.besides(Storm(traffic, seed + epoch).run):
                    await traffic.run(seconds / epochs, CLIENTS, epoch)
                await checks.run(flush_first=bool(epoch % 2))
    except* (httpx2.HTTPError, TimeoutError, LookupError, msgspec.MsgspecError) as group:
        for error in _leaves(group):
            traffic.journal.defect(
                f"epoch {epoch + 1}, {time.monotonic() - started:.0f} s: {_described(error)}"
            )
        traffic.journal.defect(await checks.state())
    checks.read_log()
    memory_growth = growth(memory)
    for process, figures in memory_growth.items():
        least = figures["mb_per_hour"] - 2 * figures["error_mb_per_hour"]
        if seconds >= LONG_S and least > GROWTH_MB_PER_HOUR:
            traffic.journal.defect(f"memory of {process} grows: {figures}")
    return {
        "kv_tokens": KV_TOKENS,
        "seconds": round(time.monotonic() - started, 1),
        "epochs": epoch + 1,
        "answers": {kind: dict(count) for kind, count in sorted(traffic.journal.answers.items())},
        "slowest_s": dict(sorted(traffic.journal.slowest_s.items())),
        "checks": dict(checks.done),
        "totals": checks.totals,
        "memory": memory_growth,
        "memory_mb": memory[:: 1 + len(memory) // 100],
        "defects": traffic.journal.defects,
        "log": str(under_test.log_path) if traffic.journal.defects else None,
    }


def _described(error: BaseException) -> str:
    """The error, and which request had it."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx2.RequestError):
        what += (
            f" ({error.request.method} {error.request.url.path} {error.request.content[:300]!r})"
        )
    return what


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _print(report: dict[str, Any]) -> None:
    console = Console(width=100)
    answers = Table(box=None, pad_edge=False)
    answers.add_column("request")
    answers.add_column("answers")
    for kind, counts in report["answers"].items():
        answers.add_row(kind, ", ".join(f"{what}: {n:,}" for what, n in sorted(counts.items())))
    console.print(answers)
    checks = Table(box=None, pad_edge=False)
    checks.add_column("\ncheck")
    checks.add_column("\ndone", justify="right")
    for check, count in report["checks"].items():
        checks.add_row(check, f"{count:,}")
    console.print(checks)
    for process, figures in report["memory"].items():
        console.print(
            f"{process}: {figures['last_mb']:,.0f} MB, {figures['mb_per_hour']:+,.1f} "
            f"± {figures['error_mb_per_hour']:,.1f} MB per hour"
        )
    console.print(f"{report['epochs']} epochs in {report['seconds']:,.0f} s, ", end="")
    console.print(f"defects: {len(report['defects'])}")
    for defect in report["defects"]:
        console.print(f"- {defect}", markup=False)


if __name__ == "__main__":
    run(main)
