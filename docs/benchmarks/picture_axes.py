"""What the axes of the benchmarks' pictures share."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes


def light_grid(plot: Axes) -> None:
    """A light grid, two sides."""
    plot.grid(color="#d0d7de", linewidth=0.6)
    plot.set_axisbelow(True)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)


def over_active_programs(plot: Axes, actives: Sequence[int], measure: str) -> None:
    """A measure against the number of active programs, which doubles."""
    plot.set_xscale("log", base=2)
    plot.set_xticks(actives, [str(active) for active in actives])
    plot.minorticks_off()
    plot.set_ylim(0, 1.03 if measure == "hit_rate" else None)
    plot.set_xlabel("Active programs")
