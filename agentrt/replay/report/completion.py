"""How job completion times and slowdowns are distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentrt.replay.report.canvas import axes, draw, log_scale
from agentrt.replay.report.markup import Html
from agentrt.replay.report.numbers import count
from agentrt.replay.report.view import Section, View, panel, sentence
from agentrt_engine.outcome import ProgramOutcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "How long programs take"
#: Points of a curve; more than a screen can show.
_POINTS = 300
#: Shares at which a curve carries its mark.
_MARKED = (0.1, 0.3, 0.5, 0.7, 0.9)


def completion(view: View) -> Section:
    """Distribution of job completion time and of slowdown, one line per policy."""
    ended = {p: _ended(view, p) for p in view.policies}
    policies = [p for p in view.policies if ended[p]]
    if not policies:
        nothing = sentence("No run of single programs is in this result, or none of them ended.")
        return Section("completion", _TITLE, nothing)
    jct = {p: [o.jct_s or 0.0 for o in ended[p]] for p in policies}
    slowdown = {
        p: [(o.jct_s or 0.0) / o.isolated_s for o in ended[p] if o.isolated_s > 0] for p in policies
    }
    totals = {p: sum(len(run.jobs) for run in view.runs(p)) for p in policies}
    panels = [_panel(view, "jct", "Job completion time, seconds", jct, totals)]
    if any(slowdown.values()):
        panels.append(_panel(view, "slowdown", "Slowdown: times the time alone", slowdown, totals))
    open_ = sum(totals.values()) - sum(len(programs) for programs in ended.values())
    caption = (
        "Each curve rises from 0 to 1; its height is the share of programs that took at most the "
        "time below it. Further left is faster. Where a curve meets 0.95 is its 95th percentile. "
        "All seeds together."
    )
    if open_:
        caption += f" {count(open_)} programs never ended; their curves stop below 1."
    return Section("completion", _TITLE, view.figure(panels, caption, legend=view.legend(policies)))


def _ended(view: View, policy: str) -> list[ProgramOutcome]:
    return [o for run in view.runs(policy) for o in run.jobs if (o.jct_s or 0.0) > 0]


def _panel(
    view: View, name: str, title: str, values: dict[str, list[float]], totals: dict[str, int]
) -> Html:
    curves = {p: distribution(values[p], totals[p]) for p in values if values[p]}

    def paint(figure: Figure) -> None:
        plot = axes(figure, "Share of programs", title)
        for policy, (times, shares) in curves.items():
            style = view.styles[policy]
            marked = sorted({_nearest(shares, share) for share in _MARKED if share <= shares[-1]})
            plot.step(
                times,
                shares,
                where="post",
                color=style.colour,
                linestyle="-" if style.dash is None else (0, style.dash),
                marker=style.mark,
                markevery=marked,
            )
        plot.set_ylim(0, 1.02)
        plot.set_yticks([0, 0.25, 0.5, 0.75, 0.95])
        log_scale(plot, "x")

    return panel(draw(name, view.described(f"{title}: distribution per policy"), paint))


def distribution(values: list[float], total: int) -> tuple[list[float], list[float]]:
    """Points of the empirical distribution, a few hundred at most.

    Args:
        values: what was observed, in any order, not empty.
        total: how many there would be had every program ended.

    Returns:
        Values in order, and the share of `total` that is at most each.
    """
    ordered = sorted(values)
    last = len(ordered) - 1
    steps = min(_POINTS, last)
    at = sorted({round(i * last / steps) for i in range(steps + 1)} if steps else {0})
    return (
        [ordered[0], *(ordered[i] for i in at)],
        [0.0, *((i + 1) / total for i in at)],
    )


def _nearest(shares: list[float], share: float) -> int:
    return min(range(len(shares)), key=lambda i: abs(shares[i] - share))
