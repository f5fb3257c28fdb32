"""Draws docs/benchmarks/live-cpu.svg from live_cpu.json: JCT by engine, and where the cliff is.

.venv/bin/python docs/benchmarks/live_picture.py live_cpu.json live-cpu.svg
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from cyclopts import run
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from picture_axes import light_grid, over_active_programs

COLOURS = {
    "stock": "#0072b2",
    "lpm": "#56b4e9",
    "best static cap": "#d55e00",
    "guard": "#009e73",
    "stock, plentiful KV": "#8c959f",
    "guard, plentiful KV": "#8c959f",
}
LINES = ("stock", "guard")


def main(figures: Path, picture: Path) -> None:
    """Draw.

    Args:
        figures: written by live_cpu.py.
        picture: SVG file to write.
    """
    document = json.loads(figures.read_text("utf-8"))
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "agentrt", "font.size": 10.5}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(11.0, 3.5), layout="constrained")
        figure.patch.set_facecolor("white")
        widths = {"width_ratios": [1.35, 1, 1]}
        jct, throughput, hits = figure.subplots(1, 3, gridspec_kw=widths)
        paint_jct(jct, document["runs"])
        paint_cliff(throughput, document["cliff"], "throughput_per_1000_s", "Programs per 1,000 s")
        paint_cliff(hits, document["cliff"], "hit_rate", "Hit rate of reusable tokens")
        figure.savefig(picture, format="svg", metadata={"Date": None})


def paint_jct(plot: Axes, runs: list[dict[str, Any]]) -> None:
    """Mean JCT of every run, as a share of stock's in the same round."""
    stock = {(r["seed"], r["repeat"]): r["jct_mean_s"] for r in runs if r["engine"] == "stock"}
    names = [name for name in COLOURS if any(row["engine"] == name for row in runs)]
    for place, name in enumerate(reversed(names)):
        ratios = [
            row["jct_mean_s"] / stock[row["seed"], row["repeat"]]
            for row in runs
            if row["engine"] == name
        ]
        middle = median(ratios)
        plot.barh(place, middle, height=0.62, color=COLOURS[name], alpha=0.35)
        plot.plot(ratios, [place] * len(ratios), "o", color=COLOURS[name], markersize=3.5)
        plot.text(max([middle, *ratios]) + 0.02, place, f"{middle:.2f}", va="center")
    plot.set_yticks(range(len(names)), names[::-1])
    plot.set_xlim(0, None)
    plot.set_title("Mean JCT, stock = 1: median and runs", loc="left", fontsize=10.5)
    light_grid(plot)


def paint_cliff(plot: Axes, rows: list[dict[str, Any]], measure: str, title: str) -> None:
    """One measure against the number of active programs."""
    actives = sorted({row["active"] for row in rows})
    for name in LINES:
        values = [
            next(row[measure] for row in rows if (row["engine"], row["active"]) == (name, active))
            for active in actives
        ]
        plot.plot(actives, values, "o-", color=COLOURS[name], markersize=4.5, label=name)
    over_active_programs(plot, actives, measure)
    plot.set_title(title, loc="left", fontsize=10.5)
    plot.legend(frameon=False)
    light_grid(plot)


if __name__ == "__main__":
    run(main)
