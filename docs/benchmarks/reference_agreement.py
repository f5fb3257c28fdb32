"""Our simulator against an independent one: the same programs and arrivals, ten policies.

    export AGENTRT_WORKLOADS=…
    .venv/bin/python docs/benchmarks/reference_agreement.py --json reference_agreement.json

Compared is the mean JCT of an open loop and the throughput of a closed one; hit rate and
recomputed tokens per new one are in the file. `infinite-kv` and `oracle-retention`, and `lru` in a
closed loop, decide nothing that a description could leave open, so each run must agree within
5 %. The others must within 15 % on the mean over the seeds. The exit code is 1 if one does not.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclopts import run
from rich.table import Table
from simulations import (
    Figures,
    ReferenceCell,
    console,
    load_subject,
    machine,
    mean,
    progress,
    reference_cells,
    run_lists,
    workloads_folder,
    write_json,
)

PER_RUN, ON_MEAN = 0.05, 0.15


@dataclass(frozen=True, slots=True)
class Compared:
    """One policy in one cell.

    Attributes:
        differences: ours over theirs less one, per seed.
        difference: of the means over the seeds.
        per_run: whether each run must agree, or the mean.
    """

    policy: str
    ours: list[Figures]
    theirs: list[Figures]
    differences: list[float]
    difference: float
    per_run: bool

    @property
    def agrees(self) -> bool:
        if self.per_run:
            return max(map(abs, self.differences)) <= PER_RUN
        return abs(self.difference) <= ON_MEAN

    def as_dict(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "agrees": self.agrees,
            "must": f"{PER_RUN:.0%} per seed" if self.per_run else f"{ON_MEAN:.0%} on the mean",
            "difference": round(self.difference, 4),
            "differences": [round(value, 4) for value in self.differences],
            "ours": self.ours,
            "theirs": self.theirs,
        }


def main(*, seeds: int = 5, workers: int = 1, json: Path | None = None) -> None:
    """Run all cells and print the table.

    Args:
        seeds: lists of each cell.
        workers: processes.
        json: file for all figures.
    """
    folder = workloads_folder()
    cells = reference_cells(folder)
    compared = []
    for cell in cells:
        progress(f"{cell.workload}, {cell.kv_tokens:,} tokens, {cell.load} …")
        compared.append(compare(folder, cell, seeds, workers))
    console.print(table(cells, compared))
    if json is not None:
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "simulated": True,
            "cells": [
                {
                    "workload": cell.workload,
                    "kv_tokens": cell.kv_tokens,
                    "rate": cell.rate,
                    "concurrency": cell.concurrency,
                    "figure": cell.figure,
                    "seeds": [run.seed for run in cell.runs[:seeds]],
                    "policies": [entry.as_dict() for entry in entries],
                }
                for cell, entries in zip(cells, compared, strict=True)
            ],
        }
        write_json(json, report)
    missed = [entry for entries in compared for entry in entries if not entry.agrees]
    if missed:
        sys.exit(f"{len(missed)} of {sum(map(len, compared))} are outside their limits")


def compare(folder: Path, cell: ReferenceCell, seeds: int, workers: int) -> list[Compared]:
    """Every policy of a cell."""
    subject = load_subject(folder, cell.workload, cell.kv_tokens)
    ours = run_lists(
        subject,
        list(cell.results),
        subject.lists(cell, seeds),
        concurrency=cell.concurrency,
        workers=workers,
    )
    figure = cell.figure
    compared = []
    for policy, mine in ours.items():
        theirs = cell.results[policy][:seeds]
        compared.append(
            Compared(
                policy,
                mine,
                theirs,
                [a[figure] / b[figure] - 1 for a, b in zip(mine, theirs, strict=True)],
                mean(mine, figure) / mean(theirs, figure) - 1,
                per_run=policy in ("infinite-kv", "oracle-retention")
                or (policy == "lru" and cell.rate is None),
            )
        )
    return compared


def table(cells: list[ReferenceCell], compared: list[list[Compared]]) -> Table:
    """Mean JCT in s, or programs per 1,000 s; differences of the mean and of the worst seed."""
    view = Table(box=None, pad_edge=False, collapse_padding=True)
    view.add_column("policy", no_wrap=True)
    for heading in ("ours", "theirs", "mean", "worst", "hit rate", "theirs", ""):
        view.add_column(heading, justify="right", no_wrap=True)
    for cell, entries in zip(cells, compared, strict=True):
        view.add_row(f"{cell.workload} {cell.load}")
        for entry in entries:
            view.add_row(
                f"  {entry.policy}",
                f"{mean(entry.ours, cell.figure):.1f}",
                f"{mean(entry.theirs, cell.figure):.1f}",
                f"{entry.difference:+.1%}",
                f"{max(entry.differences, key=abs):+.1%}",
                f"{mean(entry.ours, 'hit_rate'):.3f}",
                f"{mean(entry.theirs, 'hit_rate'):.3f}",
                "" if entry.agrees else "outside",
            )
    return view


if __name__ == "__main__":
    run(main)
