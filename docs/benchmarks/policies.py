"""Every policy on the standing workloads, simulated: closed loop, parts of `guard`, orders.

    export AGENTRT_WORKLOADS=…
    .venv/bin/python docs/benchmarks/policies.py --json policies.json

Closed loop: so many programs always active, 300 in all, the same lists for every policy. Parts and
orders: the five open-loop cells of the reference, with its lists and arrivals; figures are ratios
to `guard` of the same list, geometric means over the lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from cyclopts import run
from rich.table import Table
from simulations import (
    CLOSED,
    Figures,
    console,
    load_subject,
    machine,
    mean,
    progress,
    reference_cells,
    run_lists,
    spread,
    workloads_folder,
    write_json,
)

from agentrt_engine.policy import policy_names

BOUND = "oracle-retention"
STATIC_CAP = "static-cap"
CAPS = (4, 8, 12, 16, 24)

#: Every policy, and both readings of Continuum.
POLICIES = (*policy_names(), "continuum:reading=pressure")

#: Programs active, and how many lists of them. The static cap is chosen at the first.
CONCURRENCY = {32: 3, 8: 1, 16: 1, 64: 1}

#: What is taken from `guard`, or changed in it.
PARTS = {
    "without the gate": "guard:gate=no",
    "price 0: no senior is evicted": "guard:price=0",
    "half the price": "guard:price=0.5",
    "twice the price": "guard:price=2",
    "any price: all may be evicted": "guard:price=1e9",
    "no headroom": "guard:headroom=0,newcomer=0",
    "no headroom for newcomers": "guard:newcomer=0",
}

ORDERS = ("guard-srpt", "oracle-pauses", "oracle-work")

Runs = dict[str, list[Figures]]


def main(*, open_seeds: int = 3, workers: int = 1, json: Path | None = None) -> None:
    """Run everything and print the tables.

    Args:
        open_seeds: lists of each open-loop cell.
        workers: processes.
        json: file for the figures of each run.
    """
    folder = workloads_folder()
    closed = {
        workload: closed_loops(folder, workload, tokens, workers) for workload, tokens in CLOSED
    }
    opened = open_loops(folder, open_seeds, workers)
    for active in sorted(CONCURRENCY):
        console.print(throughput_table(closed, active), "")
    console.print(times_table(closed), "")
    console.print(parts_table(opened), "")
    console.print(orders_table(opened))
    if json is not None:
        report: dict[str, Any] = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "simulated": True,
            "kv_tokens": dict(CLOSED),
            "closed_loop": closed,
            "open_loop": opened,
        }
        write_json(json, report)


def closed_loops(folder: Path, workload: str, tokens: int, workers: int) -> dict[int, Runs]:
    """All policies by the number of active programs; of the static caps the best one."""
    subject = load_subject(folder, workload, tokens)
    caps = [f"{STATIC_CAP}:programs={cap}" for cap in CAPS]
    others = [name for name in POLICIES if name != STATIC_CAP]
    loops = {}
    for active, seeds in CONCURRENCY.items():
        progress(f"{workload}, {active} active …")
        runs = run_lists(
            subject, others + caps, subject.drawn(seeds), concurrency=active, workers=workers
        )
        caps = [max(caps, key=lambda cap, runs=runs: throughput(runs[cap]))]  # type: ignore[misc]
        loops[active] = runs
    return loops


def runs_of(runs: Runs, policy: str) -> list[Figures]:
    """Of the static cap those with the most throughput."""
    if policy != STATIC_CAP:
        return runs[policy]
    return max((runs[name] for name in runs if name.startswith(policy)), key=throughput)


def throughput(runs: Sequence[Figures]) -> float:
    return mean(runs, "throughput_per_1000_s")


def open_loops(folder: Path, seeds: int, workers: int) -> dict[str, Runs]:
    """`guard`, its parts and other orders on the cells of the reference that have arrivals."""
    opened = {}
    for cell in reference_cells(folder):
        if cell.rate:
            progress(f"{cell.workload}, {cell.load} …")
            subject = load_subject(folder, cell.workload, cell.kv_tokens)
            opened[f"{cell.workload}, {cell.load}"] = run_lists(
                subject,
                ["guard", *PARTS.values(), *ORDERS],
                subject.lists(cell, seeds),
                concurrency=None,
                workers=workers,
            )
    return opened


def throughput_table(closed: Mapping[str, dict[int, Runs]], active: int) -> Table:
    """Programs per 1,000 s and hit rate, and the geometric mean of the ratio to the bound."""
    view = _table(f"{active} active: per 1,000 s (hit rate)", [*_headings(), "of free"])
    cells = [loops[active] for loops in closed.values()]
    free = [throughput(runs[BOUND]) for runs in cells]
    for policy in POLICIES:
        mine = [runs_of(runs, policy) for runs in cells]
        texts = [f"{throughput(runs):.1f} ({mean(runs, 'hit_rate'):.2f})" for runs in mine]
        ratios = [throughput(runs) / bound for runs, bound in zip(mine, free, strict=True)]
        of_free = geometric_mean(ratios)
        view.add_row(policy, *texts, f"{of_free:.3f}")
    return view


def times_table(closed: Mapping[str, dict[int, Runs]]) -> Table:
    """Mean and 95th percentile of the JCT, s, where there are most seeds; spread of throughput."""
    active = max(CONCURRENCY, key=CONCURRENCY.__getitem__)
    view = _table(f"{active} active: JCT s, mean / p95", [*_headings(), "spread"])
    for policy in POLICIES:
        mine = [runs_of(loops[active], policy) for loops in closed.values()]
        texts = [f"{mean(runs, 'jct_mean_s'):.0f} / {mean(runs, 'jct_p95_s'):.0f}" for runs in mine]
        most = max(spread(runs, "throughput_per_1000_s") for runs in mine)
        view.add_row(policy, *texts, f"{most:.1%}")
    return view


def parts_table(opened: Mapping[str, Runs]) -> Table:
    """Mean JCT over that of `guard`."""
    view = _table("guard, mean JCT relative", [*(_short(name) for name in opened), "all"])
    for part, policy in PARTS.items():
        ratios = [over_guard(runs, policy, "jct_mean_s") for runs in opened.values()]
        view.add_row(part, *(f"{ratio:.2f}" for ratio in [*ratios, geometric_mean(ratios)]))
    return view


def orders_table(opened: Mapping[str, Runs]) -> Table:
    """JCT and slowdown of each order, and the ratio of the means to `guard`."""
    headings = ["mean s", "p95 s", "p99 slowdown", "mean", "p95", "p99 slowdown"]
    view = _table("open loop; on the right, relative to guard", headings)
    figures = ("jct_mean_s", "jct_p95_s", "slowdown_p99")
    for cell, runs in opened.items():
        view.add_row(cell)
        for policy in ("guard", *ORDERS):
            values = [mean(runs[policy], figure) for figure in figures]
            ratios = [over_guard(runs, policy, figure) for figure in figures]
            view.add_row(
                f"  {policy}",
                *(f"{value:.1f}" for value in values),
                *(f"{ratio:.2f}" for ratio in ratios),
            )
    view.add_row("geometric mean")
    for policy in ORDERS:
        over = [
            geometric_mean(over_guard(runs, policy, figure) for runs in opened.values())
            for figure in figures
        ]
        view.add_row(f"  {policy}", "", "", "", *(f"{ratio:.2f}" for ratio in over))
    return view


def over_guard(runs: Runs, policy: str, figure: str) -> float:
    """Ratio to `guard`, list by list, geometric mean."""
    pairs = zip(runs[policy], runs["guard"], strict=True)
    return geometric_mean(mine[figure] / theirs[figure] for mine, theirs in pairs)


def _table(first: str, headings: Sequence[str]) -> Table:
    view = Table(box=None, pad_edge=False, collapse_padding=True)
    view.add_column(first, no_wrap=True)
    for heading in headings:
        view.add_column(heading, justify="right")
    return view


def _headings() -> list[str]:
    return [_short(workload) for workload, _tokens in CLOSED]


def _short(name: str) -> str:
    """With places to break it."""
    return name.replace("_", " ")


if __name__ == "__main__":
    run(main)
