"""What the benchmarks of the simulator have in common: workloads, engine, runs and their figures.

The traces are found through AGENTRT_WORKLOADS. Everything is simulated: Llama 3.1 8B on an H200,
chunks of 8,192 tokens, 256 turns in the batch at most, pages of 16 tokens, pauses cut to 300 s.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
from remaining_work import machine, workloads_folder
from rich.console import Console

from agentrt.replay.matrix import Run, Simulation, run_all
from agentrt.replay.program_list import ProgramList, drawn_list
from agentrt.replay.row import make_row
from agentrt.replay.trace_file import load_trace
from agentrt.replay.workload import make_workload
from agentrt_engine.outcome import RunOutcome
from agentrt_engine.simulated.profile import load_profile
from agentrt_engine.simulated.settings import EngineSettings

__all__ = ["console", "machine", "workloads_folder"]

PROFILE = "llama-3.1-8b-h200"
PAGE = 16
PAUSE_CAP_S = 300.0
PROGRAMS = 300

#: The standing workloads and the KV memory, tokens, under which each is pressed for it.
CLOSED = (
    ("sweagent_c4", 200_000),
    ("coding_production_2k", 400_000),
    ("claude_code_glm47", 400_000),
    ("claude_code_sessions_128k", 900_000),
)

#: Of a row of `agentrt.replay.v1`, what these benchmarks compare.
FIGURES = (
    "throughput_per_1000_s",
    "hit_rate",
    "recomputed_per_new",
    "jct_mean_s",
    "jct_p95_s",
    "jct_p99_s",
    "slowdown_p99",
)

console = Console(width=100)

Figures = dict[str, float]


class ReferenceRun(msgspec.Struct, frozen=True):
    """One list of programs by id, with seconds of arrival in an open loop."""

    seed: int
    programs: list[str]
    arrival_s: list[float] | None = None


class ReferenceCell(msgspec.Struct, frozen=True):
    """One workload at one load, and what an independent simulator got for it.

    Attributes:
        rate: programs per second of an open loop; None in a closed one.
        concurrency: programs always active in a closed loop; None in an open one.
        results: figures of each policy, one object per run.
    """

    workload: str
    kv_tokens: int
    rate: float | None
    concurrency: int | None
    runs: list[ReferenceRun]
    results: dict[str, list[Figures]]

    @property
    def load(self) -> str:
        return f"{self.rate:g}/s" if self.rate else f"{self.concurrency} active"

    @property
    def figure(self) -> str:
        """What is compared first: job completion time, or throughput in a closed loop."""
        return "jct_mean_s" if self.rate else "throughput_per_1000_s"


class _ReferenceFile(msgspec.Struct, frozen=True):
    cells: list[ReferenceCell]


@dataclass(frozen=True, slots=True)
class Subject:
    """Programs of a workload on an engine of some size."""

    simulation: Simulation
    index: dict[str, int]

    def lists(self, cell: ReferenceCell, seeds: int) -> list[ProgramList]:
        """The first lists of a cell."""
        return [
            ProgramList(
                run.seed,
                tuple(self.index[program] for program in run.programs),
                tuple(run.arrival_s) if cell.rate and run.arrival_s else None,
            )
            for run in cell.runs[:seeds]
        ]

    def drawn(self, seeds: int) -> list[ProgramList]:
        """Lists for a closed loop with the seeds 1, 2, …"""
        available = len(self.simulation.plans)
        return [drawn_list(available, PROGRAMS, seed) for seed in range(1, seeds + 1)]


def reference_cells(folder: Path) -> list[ReferenceCell]:
    """The cells of the reference; five open loops, then four closed ones."""
    path = folder / "reference_runs.json.gz"
    if not path.is_file():
        sys.exit(f"{folder}: there is no {path.name}")
    return msgspec.json.decode(gzip.decompress(path.read_bytes()), type=_ReferenceFile).cells


def load_subject(folder: Path, workload: str, kv_tokens: int) -> Subject:
    """The programs of a trace that fit the engine."""
    trace = load_trace(folder / f"{workload}.jsonl.gz")
    fitting = make_workload(trace, kv_tokens=kv_tokens, page=PAGE, pause_cap_s=PAUSE_CAP_S)
    settings = EngineSettings(load_profile(PROFILE).costs(), kv_tokens, page=PAGE)
    index = {plan.program_id: at for at, plan in enumerate(fitting.plans)}
    return Subject(Simulation(fitting.plans, settings), index)


def run_lists(
    subject: Subject,
    policies: Sequence[str],
    lists: Sequence[ProgramList],
    *,
    concurrency: int | None,
    workers: int,
) -> dict[str, list[Figures]]:
    """Figures of each policy, one object per list, with a line of progress on stderr."""
    figures = {}
    for policy in policies:
        runs = [Run(policy, programs, concurrency) for programs in lists]
        outcomes = run_all(
            subject.simulation, runs, workers=workers, on_progress=lambda _ended: None
        )
        figures[policy] = [figures_of(outcome) for outcome in outcomes]
        seconds = sum(outcome.wall_s for outcome in outcomes)
        progress(f"  {policy}: {len(runs)} runs, {seconds:.1f} s")
    return figures


def figures_of(outcome: RunOutcome) -> Figures:
    """What one run came to; a rate without a denominator is left out."""
    row = make_row([outcome])
    return {name: round(row[name], 4) for name in FIGURES if row[name] is not None}


def mean(runs: Sequence[Figures], figure: str) -> float:
    """Over the seeds."""
    return fmean(run[figure] for run in runs)


def spread(runs: Sequence[Figures], figure: str) -> float:
    """Largest less smallest over the seeds, relative to their mean."""
    values = [run[figure] for run in runs]
    return (max(values) - min(values)) / fmean(values)


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Indented, with a line break at its end."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
