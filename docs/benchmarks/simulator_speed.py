"""How fast the simulator is, and how its time and memory grow with the number of programs.

    export AGENTRT_WORKLOADS=…
    .venv/bin/python docs/benchmarks/simulator_speed.py --json simulator_speed.json

Programs of coding_production_2k on Llama 3.1 8B on an H200 with 400,000 tokens of KV, Poisson
arrivals: the whole trace once under several policies, and drawn again until there are 32,000
programs. Every run is a process of its own; all cases are run in turn, in a new order each round.
Seconds are those of the simulation alone; memory is the peak of the process, trace included.
Where something else computes on the machine meanwhile, compare the CPU seconds.

With an unpacked wheel that was built with AGENTRT_COMPILE=1, both are measured in turn:

    … simulator_speed.py --json simulator_speed.json --compiled FOLDER
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

import msgspec
from cyclopts import App
from remaining_work import machine, workloads_folder
from rich.console import Console
from rich.table import Table

from agentrt.replay.matrix import Run, Simulation, run_one
from agentrt.replay.program_list import poisson_list
from agentrt.replay.trace_file import load_trace
from agentrt.replay.workload import make_workload
from agentrt_engine.simulated.compiled import is_compiled
from agentrt_engine.simulated.profile import load_profile
from agentrt_engine.simulated.settings import EngineSettings

TRACE = "coding_production_2k"
PROFILE = "llama-3.1-8b-h200"
KV_TOKENS = 400_000
PAUSE_CAP_S = 300.0
MB = 10**6


@dataclass(frozen=True, slots=True)
class Case:
    """One run; `programs` are drawn from the trace, each once before any comes again."""

    policy: str
    rate: float
    programs: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took, and what came out, which is always the same.

    Attributes:
        wall_s, cpu_s: of the simulation, without reading the trace.
        peak_bytes: of the process.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    turns: int
    jct_mean_s: float
    compiled: bool

    @property
    def result(self) -> tuple[int, float]:
        return self.turns, self.jct_mean_s


#: Programs per second; guard keeps up with the first and no policy with the second.
STABLE, OVERLOADED = 0.10, 0.22
CASES = (
    *(Case(policy, STABLE, 2_000) for policy in ("guard", "lru", "program-fcfs", "continuum")),
    *(Case(policy, OVERLOADED, 2_000) for policy in ("guard", "lru", "program-fcfs")),
    *(Case("guard", STABLE, programs) for programs in (4_000, 8_000, 16_000, 32_000)),
)

Samples = dict[Case, list[Sample]]

app = App(help=__doc__, help_format="plaintext")


@app.default
def main(
    *,
    rounds: int = 3,
    seed: int = 1,
    compiled: Path | None = None,
    json: Path | None = None,
    note: str = "",
) -> None:
    """Measure and print the table.

    Parameters
    ----------
    rounds
        How often each case is run.
    seed
        Of the order of the cases.
    compiled
        Folder with an unpacked compiled wheel, measured beside what is installed.
    json
        File for all samples; those of the compiled wheel go to NAME_compiled.json.
    note
        Goes into the files.
    """
    workloads_folder()
    rng = random.Random(seed)
    sides = [None] if compiled is None else [None, compiled.resolve()]
    samples: list[Samples] = [{case: [] for case in CASES} for _ in sides]
    for number in range(1, rounds + 1):
        for case in rng.sample(CASES, len(CASES)):
            print(f"round {number}: {case} …", file=sys.stderr)  # noqa: T201
            for side in rng.sample(range(len(sides)), len(sides)):
                samples[side][case].append(measured(case, sides[side]))
    for case in CASES:
        if len({sample.result for side in samples for sample in side[case]}) > 1:
            sys.exit(f"{case}: the results differ, so the times cannot be compared")
    Console(width=100).print(table(samples))
    if json is not None:
        write(json, samples[0], note)
        if compiled is not None:
            write(json.with_stem(f"{json.stem}_compiled"), samples[1], note)


def measured(case: Case, modules: Path | None) -> Sample:
    """One run in a new process.

    Args:
        modules: a folder whose packages go before the installed ones.
    """
    words = [case.policy, str(case.rate), str(case.programs)]
    env = os.environ if modules is None else os.environ | {"PYTHONPATH": str(modules)}
    done = subprocess.run(
        [sys.executable, __file__, "run-case", *words], env=env, stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=Sample)


@app.command(show=False)
def run_case(policy: str, rate: float, programs: int) -> None:
    """Run one case in this process and print the sample as JSON."""
    trace = load_trace(workloads_folder() / f"{TRACE}.jsonl.gz")
    settings = EngineSettings(load_profile(PROFILE).costs(), KV_TOKENS)
    workload = make_workload(
        trace, kv_tokens=KV_TOKENS, page=settings.page, pause_cap_s=PAUSE_CAP_S
    )
    del trace
    chosen = poisson_list(len(workload.plans), programs, 1, rate=rate)
    simulation = Simulation(workload.plans, settings)
    started, cpu = time.perf_counter(), time.process_time()
    outcome = run_one(simulation, Run(policy, chosen), lambda ended: None)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    sample = Sample(
        wall_s=round(wall_s, 4),
        cpu_s=round(cpu_s, 4),
        peak_bytes=peak_bytes(),
        turns=sum(program.turns for program in outcome.programs),
        jct_mean_s=fmean(program.jct_s or 0.0 for program in outcome.programs),
        compiled=is_compiled(),
    )
    sys.stdout.buffer.write(msgspec.json.encode(sample))


def peak_bytes() -> int:
    """Of this process; `ru_maxrss` would begin with that of the process which started it."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


def write(path: Path, samples: Samples, note: str) -> None:
    """All samples of one side."""
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "compiled": samples[CASES[0]][0].compiled,
        "note": note,
        "trace": TRACE,
        "profile": PROFILE,
        "kv_tokens": KV_TOKENS,
        "cases": [
            {
                **asdict(case),
                "turns": runs[0].turns,
                "turns_per_s": round(speed(runs)),
                "jct_mean_s": round(runs[0].jct_mean_s, 6),
                "wall_s": [run.wall_s for run in runs],
                "cpu_s": [run.cpu_s for run in runs],
                "peak_mb": [round(run.peak_bytes / MB, 1) for run in runs],
            }
            for case, runs in samples.items()
        ],
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def speed(runs: Sequence[Sample]) -> float:
    """Turns per second at the median time."""
    return runs[0].turns / median(run.wall_s for run in runs)


def table(sides: Sequence[Samples]) -> Table:
    """Median seconds and, in brackets, the extremes; turns per second; median peak memory."""
    view = Table(box=None, pad_edge=False)
    for heading in ("policy", "rate", "programs", "turns", "build"):
        view.add_column(heading, no_wrap=True, justify="right" if heading != "policy" else "left")
    for heading in ("s", "turns/s", "CPU s", "MB"):
        view.add_column(heading, no_wrap=True, justify="right")
    for case in CASES:
        names = [case.policy, f"{case.rate:.2f}", f"{case.programs:,}"]
        for side in sides:
            view.add_row(*names, *figures(side[case]))
            names = [""] * len(names)
    return view


def figures(runs: Sequence[Sample]) -> list[str]:
    """The cells of a row that are measured."""
    walls = [run.wall_s for run in runs]
    return [
        f"{runs[0].turns:,}",
        "compiled" if runs[0].compiled else "plain",
        f"{median(walls):.2f} [{min(walls):.2f}–{max(walls):.2f}]",
        f"{speed(runs):,.0f}",
        f"{median(run.cpu_s for run in runs):.2f}",
        f"{median(run.peak_bytes for run in runs) / MB:,.0f}",
    ]


if __name__ == "__main__":
    app()
