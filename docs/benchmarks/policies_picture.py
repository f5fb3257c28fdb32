"""Draws docs/policies-cliff.svg from policies.json: throughput and hit rate against concurrency.

.venv/bin/python docs/benchmarks/policies_picture.py policies.json ../policies-cliff.svg
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from cyclopts import run
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from picture_axes import light_grid, over_active_programs

#: Policies and bounds that are drawn, with colour and dash.
LINES = {
    "infinite-kv": ("#8c959f", (1, 1)),
    "oracle-retention": ("#24292f", (4, 2)),
    "guard": ("#009e73", None),
    "infercept": ("#cc79a7", None),
    "continuum": ("#d55e00", None),
    "lru": ("#0072b2", None),
}
PANELS = (
    ("throughput_per_1000_s", "Programs ended per 1,000 s"),
    ("hit_rate", "Hit rate of reusable prompt tokens"),
)


def main(figures: Path, picture: Path, *, workload: str = "sweagent_c4") -> None:
    """Draw one workload.

    Args:
        figures: written by policies.py.
        picture: SVG file to write.
        workload: which of its workloads.
    """
    cells = json.loads(figures.read_text("utf-8"))["closed_loop"][workload]
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "agentrt", "font.size": 11.0}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        figure.patch.set_facecolor("white")
        for plot, (measure, title) in zip(figure.subplots(1, 2), PANELS, strict=True):
            paint(plot, cells, measure, title)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(LINES), frameon=False)
        figure.savefig(picture, format="svg", metadata={"Date": None})


def paint(plot: Axes, cells: dict[str, dict[str, Any]], measure: str, title: str) -> None:
    """One measure against the number of active programs."""
    actives = sorted(map(int, cells))
    for policy, (colour, dash) in LINES.items():
        seeds = [[one[measure] for one in cells[str(active)][policy]] for active in actives]
        plot.plot(
            actives,
            [fmean(values) for values in seeds],
            color=colour,
            linestyle="-" if dash is None else (0, dash),
            marker="o" if dash is None else "",
            markersize=4.5,
            label=policy,
        )
        plot.fill_between(
            actives,
            [min(values) for values in seeds],
            [max(values) for values in seeds],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    over_active_programs(plot, actives, measure)
    plot.set_title(title, loc="left", fontsize=11)
    light_grid(plot)


if __name__ == "__main__":
    run(main)
