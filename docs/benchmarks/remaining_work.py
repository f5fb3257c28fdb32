"""How well the remaining work of a program is foretold, on real traces and held out.

    export AGENTRT_WORKLOADS=…
    .venv/bin/python docs/benchmarks/remaining_work.py --json remaining_work.json

Programs run one after the other, each predicted before every turn and learned from when it has
ended. Figures are over the second half of the programs, in the order of the file and in shuffled
orders: Pearson's r of ln(estimate) and ln(actual), and the median |ln(estimate / actual)|.
"""

from __future__ import annotations

import os
import platform
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import log
from pathlib import Path
from statistics import StatisticsError, correlation, fmean, median
from typing import Any, Protocol

import msgspec
from cyclopts import run
from rich.console import Console
from rich.table import Table

from agentrt.replay.trace_file import load_trace
from agentrt_engine.policy.additive import LINEAR
from agentrt_engine.policy.remaining import MIN_WORK_S, RemainingWork
from agentrt_engine.wire.trace import ProgramRecord, TurnRecord

WORKLOADS_VARIABLE = "AGENTRT_WORKLOADS"
WORKLOADS = (
    "coding_production_2k",
    "claude_code_sessions_128k",
    "claude_code_glm47",
    "sweagent_c4",
    "sweagent_c32",
)
#: Seconds of engine time per new prompt token and per output token: a model of 8B parameters on
#: an H200 whose steps of 5.3 ms are shared by five turns.
PREFILL_S, DECODE_S = 20e-6, 1e-3
TURNS = (0, 1, 3, 10)
MIN_SAMPLES = 5


class Method(Protocol):
    """Something that foretells ln(remaining seconds) before each turn."""

    def before_turn(self, program: ProgramRecord, turn: int) -> float:
        """The estimate, knowing the turns before it and its prompt."""

    def ended(self, program: ProgramRecord, remaining: list[float]) -> None:
        """What it was, for each turn."""


class Constant:
    """The mean over all turns so far, whatever the program."""

    def __init__(self) -> None:
        self._total = self._count = 0.0

    def before_turn(self, program: ProgramRecord, turn: int) -> float:
        return self._total / max(self._count, 1.0)

    def ended(self, program: ProgramRecord, remaining: list[float]) -> None:
        self._total += sum(remaining)
        self._count += len(remaining)


class MeanResidual:
    """The mean over the programs of the agent that came as far, if there were five."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], list[float]] = {}
        self._otherwise = Constant()

    def before_turn(self, program: ProgramRecord, turn: int) -> float:
        seen = self._seen.get((program.agent, turn), [])
        if len(seen) < MIN_SAMPLES:
            return self._otherwise.before_turn(program, turn)
        return fmean(seen)

    def ended(self, program: ProgramRecord, remaining: list[float]) -> None:
        for turn, value in enumerate(remaining):
            self._seen.setdefault((program.agent, turn), []).append(value)
        self._otherwise.ended(program, remaining)


class Learned:
    """`RemainingWork`, told what an engine would tell it; counts how often it was informative."""

    def __init__(self, work: RemainingWork) -> None:
        self.work = work
        self.asked = self.informative = 0

    def before_turn(self, program: ProgramRecord, turn: int) -> float:
        name, record = program.program_id, program.turns[turn]
        if turn == 0:
            self.work.started(name, program.agent, record.input_tokens, program.max_turns)
        else:
            before = program.turns[turn - 1]
            self._turn_ended(name, before)
            self.work.pause_ended(
                name,
                pause_s=before.pause_s or 0.0,
                prompt_tokens=record.input_tokens,
                tool=before.tools[0].name if before.tools else None,
            )
        estimate = self.work.estimate(name)
        self.asked += 1
        self.informative += estimate.informative
        return log(estimate.seconds)

    def ended(self, program: ProgramRecord, remaining: list[float]) -> None:
        self._turn_ended(program.program_id, program.turns[-1])
        self.work.ended(program.program_id)

    def _turn_ended(self, name: str, turn: TurnRecord) -> None:
        self.work.turn_ended(
            name,
            prompt_tokens=turn.input_tokens,
            new_tokens=turn.new_tokens,
            output_tokens=turn.output_tokens,
        )


METHODS: dict[str, Callable[[], Method]] = {
    "constant": Constant,
    "mean residual": MeanResidual,
    "linear": lambda: Learned(RemainingWork(PREFILL_S, DECODE_S, max_knots=LINEAR)),
    "additive (ours)": lambda: Learned(RemainingWork(PREFILL_S, DECODE_S)),
}


@dataclass(frozen=True, slots=True)
class Score:
    """Of one method on one order of the programs.

    Attributes:
        r: per turns ended so far, and of all turns; null where undefined.
        error: median |ln(estimate / actual)|, likewise.
        informative: share of the turns, of both halves, at which the estimate would be used.
        seconds: it took, for all programs.
    """

    r: dict[str, float | None]
    error: dict[str, float]
    informative: float | None
    seconds: float


def main(*, orders: int = 5, json: Path | None = None) -> None:
    """Measure and print the table.

    Args:
        orders: the order of the file, and shuffled ones.
        json: file for the figures of each order.
    """
    folder = workloads_folder()
    scores: dict[str, dict[str, list[Score]]] = {}
    for name in WORKLOADS:
        programs = load_trace(folder / f"{name}.jsonl.gz").programs
        print(f"{name}: {len(programs)} programs …", file=sys.stderr)  # noqa: T201
        scores[name] = {
            method: [score(make(), reordered(programs, order)) for order in range(orders)]
            for method, make in METHODS.items()
        }
    Console(width=100).print(table(scores))
    if json is not None:
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "prefill_s": PREFILL_S,
            "decode_s": DECODE_S,
            "scores": scores,
        }
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def workloads_folder() -> Path:
    """The folder of the traces."""
    named = os.environ.get(WORKLOADS_VARIABLE, "")
    if not named:
        sys.exit(f"{WORKLOADS_VARIABLE} is not set: give the folder with {WORKLOADS[0]}.jsonl.gz")
    missing = [name for name in WORKLOADS if not (Path(named) / f"{name}.jsonl.gz").is_file()]
    if missing:
        sys.exit(f"{WORKLOADS_VARIABLE}={named}: there is no {missing[0]}.jsonl.gz")
    return Path(named)


def reordered(programs: list[ProgramRecord], order: int) -> list[ProgramRecord]:
    """The programs as the file has them (0) or shuffled with that seed."""
    return random.Random(order).sample(programs, len(programs)) if order else programs


def score(method: Method, programs: list[ProgramRecord]) -> Score:
    """Predict and learn, program by program."""
    pairs: dict[str, list[tuple[float, float]]] = {at: [] for at in (*map(str, TURNS), "all")}
    started = time.perf_counter()
    for i, program in enumerate(programs):
        actual = remaining_work(program)
        for turn, value in enumerate(actual):
            pair = (method.before_turn(program, turn), value)
            if i >= len(programs) // 2:
                pairs["all"].append(pair)
                if turn in TURNS:
                    pairs[str(turn)].append(pair)
        method.ended(program, actual)
    seconds = time.perf_counter() - started
    return Score(
        r={at: pearson(rows) for at, rows in pairs.items()},
        error={at: round(median(abs(x - y) for x, y in rows), 4) for at, rows in pairs.items()},
        informative=used_share(method) if isinstance(method, Learned) else None,
        seconds=round(seconds, 3),
    )


def used_share(method: Learned) -> float:
    """The share of the turns at which the estimate was called informative."""
    return round(method.informative / method.asked, 4)


def remaining_work(program: ProgramRecord) -> list[float]:
    """ln(seconds of engine time from each turn on)."""
    left, values = 0.0, []
    for turn in reversed(program.turns):
        left += PREFILL_S * turn.new_tokens + DECODE_S * turn.output_tokens
        values.append(log(max(left, MIN_WORK_S)))
    return values[::-1]


def pearson(rows: list[tuple[float, float]]) -> float | None:
    """r, or None when one side does not vary."""
    try:
        return round(correlation([x for x, _ in rows], [y for _, y in rows]), 4)
    except StatisticsError:
        return None


def table(scores: dict[str, dict[str, list[Score]]]) -> Table:
    """Means over the orders: r and, in brackets, the median error after so many turns."""
    view = Table(box=None, pad_edge=False, collapse_padding=True)
    view.add_column("turns ended", no_wrap=True)
    for heading in (*map(str, TURNS), "all", "used"):
        view.add_column(heading, justify="right", no_wrap=True)
    for name, methods in scores.items():
        view.add_row(name)
        for method, runs in methods.items():
            cells = [cell(runs, str(turn)) for turn in TURNS] + [cell(runs, "all")]
            used = [run.informative for run in runs if run.informative is not None]
            view.add_row(f"  {method}", *cells, f"{fmean(used):.0%}" if used else "")
    return view


def cell(runs: list[Score], at: str) -> str:
    """Mean r and, in brackets, mean error; a dash where r is undefined."""
    defined = [value for run in runs if (value := run.r[at]) is not None]
    r = f"{fmean(defined):.2f}" if defined else "–"
    return f"{r} ({fmean(run.error[at] for run in runs):.2f})"


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
        "agentrt": version("agentrt"),
    }


if __name__ == "__main__":
    run(main)
