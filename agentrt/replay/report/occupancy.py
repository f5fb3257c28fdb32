"""What KV memory holds over time, and how many programs are active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentrt.replay.report.canvas import axes, draw, short_ticks
from agentrt.replay.report.markup import Html
from agentrt.replay.report.numbers import count, duration_unit
from agentrt.replay.report.style import INK, KV_COLOURS
from agentrt.replay.report.view import Section, View, areas_legend, panel, sentence
from agentrt_engine.outcome import Occupancy, RunOutcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "What KV memory holds"
_BINS = 200
_HEIGHT = 330
_KINDS = tuple(KV_COLOURS)
_NUMBERS = ("waiting_turns", "active_programs")
_WAITING = "#B35900"


@dataclass(frozen=True, slots=True)
class Course:
    """A quantity of each kind over time, as means over equal spans.

    Attributes:
        times_s: the middle of each span.
        end_s: the end of the last one.
        means: by field of `Occupancy`, one value per span.
    """

    times_s: Any
    end_s: float
    means: dict[str, Any]


def occupancy(view: View) -> Section:
    """One panel per policy, all with the same axes."""
    shown = [
        (policy, run, course(timeline.occupancy))
        for policy, run, timeline in view.timelines()
        if len(timeline.occupancy) > 1
    ]
    if not shown:
        return Section("memory", _TITLE, sentence("No run recorded what its KV memory held."))
    axis = _Axes(
        span_s=max(c.end_s for _, _, c in shown),
        tokens=max((run.capacity_tokens or 0 for _, run, _ in shown), default=0),
        programs=max(float(c.means[k].max()) for _, _, c in shown for k in _NUMBERS),
    )
    panels = [_panel(view, i, policy, run, c, axis) for i, (policy, run, c) in enumerate(shown)]
    caption = (
        "Above, from bottom to top: tokens of turns that run, of paused programs under a lease, of "
        "programs and prefixes that may be evicted at once, and free memory. Below: programs that "
        "arrived and have not ended (line), and turns that wait for memory (filled). One seed; "
        f"means over a {_BINS}th of the run."
    )
    legend = areas_legend({**KV_COLOURS, "waiting turns": _WAITING})
    return Section("memory", _TITLE, view.figure(panels, caption, legend=legend))


@dataclass(frozen=True, slots=True)
class _Axes:
    """The ends of the axes that all panels share. `tokens` is 0 if no memory is limited."""

    span_s: float
    tokens: int
    programs: float


def course(samples: list[Occupancy]) -> Course:
    """Means over equal spans of time; a sample holds until the next one.

    Args:
        samples: in order of time, at least two.
    """
    import numpy as np

    times = np.fromiter((s.time_s for s in samples), float, len(samples))
    span = max(float(times[-1] - times[0]), 1e-9)
    edges = times[0] + np.linspace(0.0, span, min(_BINS, len(samples)) + 1)
    lengths = np.diff(times)
    means: dict[str, Any] = {}
    for kind in (*_KINDS, *_NUMBERS):
        values = np.fromiter((getattr(s, kind) for s in samples), float, len(samples))
        integral = np.concatenate(([0.0], np.cumsum(values[:-1] * lengths)))
        means[kind] = np.diff(np.interp(edges, times, integral)) / np.diff(edges)
    return Course((edges[:-1] + edges[1:]) / 2, float(edges[-1]), means)


def _panel(
    view: View, index: int, policy: str, run: RunOutcome, course: Course, axis: _Axes
) -> Html:
    unit_s, unit = duration_unit(axis.span_s)
    times = course.times_s / unit_s
    limited = run.capacity_tokens is not None
    kinds = _KINDS if limited else _KINDS[:-1]

    def paint(figure: Figure) -> None:
        memory = axes(figure, "KV memory, tokens", "", bottom=138)
        memory.stackplot(
            times,
            *[course.means[kind] for kind in kinds],
            colors=[KV_COLOURS[kind] for kind in kinds],
            linewidth=0,
        )
        memory.tick_params(labelbottom=False, bottom=False)
        memory.set_xlim(0, axis.span_s / unit_s)
        if limited:
            memory.set_ylim(0, axis.tokens)
        active = axes(figure, "Programs and waiting turns", f"Time, {unit}", top=_HEIGHT - 104)
        active.fill_between(times, course.means["waiting_turns"], color=_WAITING, linewidth=0)
        active.plot(times, course.means["active_programs"], color=INK, linewidth=1.4)
        active.set_ylim(0, max(axis.programs * 1.05, 1))
        active.set_xlim(memory.get_xlim())
        short_ticks(memory, "x", "y")
        short_ticks(active, "x", "y")

    label = view.described(f"KV memory over time under {policy}")
    note = f"{count(run.capacity_tokens)} tokens" if limited else "no limit, own scale"
    return panel(draw(f"kv{index}", label, paint, height=_HEIGHT), view.name(policy), note)
