"""Throughput and hit rate against the number of programs that are always active."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING

from agentrt.replay.report.canvas import axes, draw
from agentrt.replay.report.content import SweepPoint
from agentrt.replay.report.markup import Html, tag
from agentrt.replay.report.view import Section, View, panel, sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Load: is there a cliff?"


def concurrency(view: View) -> Section:
    """Where throughput falls as more programs are active, if it does."""
    if not view.content.sweep:
        nothing = sentence(
            "This result has no sweep over the number of active programs. To get one: ",
            tag("code", "agentrt replay … --sweep"),
            ".",
        )
        return Section("load", _TITLE, nothing)
    panels = [
        _panel(view, "throughput", "Programs ended per 1,000 s", _throughput),
        _panel(view, "hits", "Hit rate of reusable prompt tokens", _hit_rate, top=1.0),
    ]
    caption = (
        "Each point is a run with that many programs always active: a new one starts when one "
        "ends. Lines join means, bands reach from the least to the greatest seed. A line that "
        "falls to the right has a cliff: more programs at once, less work done. Dashed: bounds."
    )
    policies = [p for p in view.policies if any(point.policy == p for point in view.content.sweep)]
    return Section("load", _TITLE, view.figure(panels, caption, legend=view.legend(policies)))


def _throughput(point: SweepPoint) -> list[float]:
    return point.throughput_per_1000_s


def _hit_rate(point: SweepPoint) -> list[float]:
    return point.hit_rate


def _panel(
    view: View,
    name: str,
    title: str,
    measure: Callable[[SweepPoint], list[float]],
    top: float | None = None,
) -> Html:
    measured = [point for point in view.content.sweep if measure(point)]
    numbers = sorted({point.concurrency for point in measured})

    def paint(figure: Figure) -> None:
        plot = axes(figure, title, "Active programs")
        for policy, style in view.styles.items():
            points = sorted(
                (p for p in measured if p.policy == policy), key=lambda p: p.concurrency
            )
            if not points:
                continue
            at = [p.concurrency for p in points]
            low, high = [min(measure(p)) for p in points], [max(measure(p)) for p in points]
            plot.fill_between(at, low, high, color=style.colour, alpha=0.15, linewidth=0)
            plot.plot(
                at,
                [fmean(measure(p)) for p in points],
                color=style.colour,
                linestyle="-" if style.dash is None else (0, style.dash),
                marker=style.mark,
            )
        plot.set_xscale("log", base=2)
        plot.set_xticks(_apart(numbers), [str(n) for n in _apart(numbers)])
        plot.minorticks_off()
        plot.set_ylim(0, None if top is None else top * 1.02)

    return panel(draw(name, view.described(f"{title} against active programs"), paint))


def _apart(numbers: list[int]) -> list[int]:
    """Those far enough apart for their labels on a logarithmic axis."""
    kept: list[int] = []
    for number in numbers:
        if not kept or number >= kept[-1] * (numbers[-1] / numbers[0]) ** (1 / 12):
            kept.append(number)
    return kept
