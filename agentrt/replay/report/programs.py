"""What each program was doing when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentrt.replay.report.canvas import add_boxes, axes, draw, short_ticks
from agentrt.replay.report.markup import Html
from agentrt.replay.report.numbers import count, duration_unit
from agentrt.replay.report.style import DECODE, PREFILL, RECOMPUTE
from agentrt.replay.report.view import Section, View, areas_legend, panel, sentence
from agentrt_engine.outcome import Activity, RunOutcome, Segment, Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "What programs do"
_EVICTED = "paused, KV evicted"
_COLOURS = {
    "queued": "#8C959F",
    "prefill": PREFILL,
    "decode": DECODE,
    "tool": "#F3DFA2",
    _EVICTED: RECOMPUTE,
    "waiting for children": "#CDBFE3",
}
_NAMES = {Activity.CHILDREN: "waiting for children"}
_ROWS = 40
_HEIGHT = 360
#: Bars of a panel, at most about; what is shorter than a pixel is merged until they suffice.
_BARS = 4000


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a row. Times count from the arrival of the first program shown."""

    row: int
    kind: str
    start_s: float
    end_s: float


def programs(view: View) -> Section:
    """Per policy, a row per program: the same ones, from the middle of the list."""
    shown = [found for found in view.timelines() if found[2].segments]
    if not shown:
        return Section("programs", _TITLE, sentence("No run recorded what its programs did."))
    total = len(shown[0][1].programs)
    first = max(0, (total - _ROWS) // 2)
    rows = chosen(shown[0][1], first)
    bars = [(policy, _bars(run, timeline, rows)) for policy, run, timeline in shown]
    span_s = max((bar.end_s for _, drawn in bars for bar in drawn), default=0.0) or 1.0
    panels = [
        _panel(view, i, policy, merged(drawn, span_s), span_s, first + 1, len(rows))
        for i, (policy, drawn) in enumerate(bars)
    ]
    caption = (
        f"A row is a program, the first to arrive at the top; {len(rows)} of {count(total)}, the "
        "same under every policy. Time counts from the arrival of the first one shown. A pause is "
        "red from the moment KV of the program was evicted: its next turn computes that again."
    )
    if not view.simulated:
        caption += (
            " As the client saw it: prefill lasts to the first token and includes the wait in the "
            "engine's queue where the engine does not tell it; evictions are not seen."
        )
    return Section("programs", _TITLE, view.figure(panels, caption, legend=areas_legend(_COLOURS)))


def chosen(run: RunOutcome, first: int) -> dict[str, int]:
    """The row of each program shown: consecutive ones by arrival from the one ranked `first`."""
    ordered = sorted(run.programs, key=lambda program: program.arrival_s)
    return {program.program_id: row for row, program in enumerate(ordered[first : first + _ROWS])}


def _bars(run: RunOutcome, timeline: Timeline, rows: dict[str, int]) -> list[Bar]:
    by_index = {i: rows[p.program_id] for i, p in enumerate(run.programs) if p.program_id in rows}
    start_s = min((run.programs[i].arrival_s for i in by_index), default=0.0)
    return [
        Bar(by_index[segment.program], kind, begin_s - start_s, end_s - start_s)
        for segment in timeline.segments
        if segment.program in by_index
        for kind, begin_s, end_s in _split(segment)
    ]


def _split(segment: Segment) -> Iterator[tuple[str, float, float]]:
    """A pause changes its colour when KV is evicted."""
    kind = _NAMES.get(segment.activity, segment.activity.value)
    if segment.evicted_s is None:
        yield kind, segment.start_s, segment.end_s
    else:
        at = min(max(segment.evicted_s, segment.start_s), segment.end_s)
        yield kind, segment.start_s, at
        yield _EVICTED, at, segment.end_s


def merged(bars: list[Bar], span_s: float) -> list[Bar]:
    """Bars joined until few enough are left; each joined span takes its longest kind.

    The span of merging is doubled from nothing over a 1,000th of `span_s` on.
    """
    cell = span_s / 1000
    joined = [bar for bar in bars if bar.end_s > bar.start_s]
    while len(joined) > _BARS:
        joined = _merged_to(bars, cell)
        cell *= 2
    return joined


def _merged_to(bars: list[Bar], cell: float) -> list[Bar]:
    spent: dict[tuple[int, int], dict[str, float]] = {}
    for bar in bars:
        start = bar.start_s
        while start < bar.end_s:
            at = int(start / cell + 1e-9)
            end = min(bar.end_s, (at + 1) * cell)
            kinds = spent.setdefault((bar.row, at), {})
            kinds[bar.kind] = kinds.get(bar.kind, 0.0) + end - start
            start = end
    joined: list[Bar] = []
    for row, at in sorted(spent):
        kind = max(spent[row, at], key=spent[row, at].__getitem__)
        last = joined[-1] if joined else None
        if last and (last.row, last.kind) == (row, kind) and last.end_s >= at * cell - cell / 2:
            joined[-1] = Bar(row, kind, last.start_s, (at + 1) * cell)
        else:
            joined.append(Bar(row, kind, at * cell, (at + 1) * cell))
    return joined


def _panel(
    view: View, index: int, policy: str, bars: list[Bar], span_s: float, first: int, rows: int
) -> Html:
    """`first`: the number of the program in the first row, from 1."""
    unit_s, unit = duration_unit(span_s)

    def paint(figure: Figure) -> None:
        plot = axes(figure, "Programs, numbered by arrival", f"Time, {unit}")
        for kind, colour in _COLOURS.items():
            boxes = [
                (bar.start_s / unit_s, bar.row + 0.08, bar.end_s / unit_s, bar.row + 0.92)
                for bar in bars
                if bar.kind == kind
            ]
            add_boxes(plot, boxes, colour)
        plot.set_xlim(0, span_s / unit_s)
        plot.set_ylim(rows, 0)
        ticks = [row for row in range(rows) if (first + row) % 10 == 0] or [0]
        plot.set_yticks([row + 0.5 for row in ticks], [str(first + row) for row in ticks])
        plot.grid(visible=False, axis="y")
        short_ticks(plot, "x")

    label = view.described(f"What {rows} programs did over time under {policy}")
    return panel(draw(f"programs{index}", label, paint, height=_HEIGHT), view.name(policy))
