"""How long tools took against how long they were expected to take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentrt.replay.report.canvas import add_boxes, axes, draw, log_scale
from agentrt.replay.report.markup import Html, brief
from agentrt.replay.report.numbers import count, percent, significant
from agentrt.replay.report.style import INK
from agentrt.replay.report.view import Section, View, panel, sentence, table
from agentrt_engine.outcome import PauseRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Predicted and actual tool durations"
#: Cells of the picture in each direction.
_CELLS = 48
_SHADES = 8
_TOOLS = 15
#: Shorter than this is drawn as this: a logarithmic axis has no zero.
_SHORTEST_S = 0.001


@dataclass(frozen=True, slots=True)
class Prediction:
    """A pause whose length had been predicted."""

    tool: str
    actual_s: float
    p50_s: float
    p95_s: float


def predictions(view: View) -> Section:
    """Density of predicted against actual, and coverage per tool, of one policy."""
    for policy in ([view.best] if view.best else []) + view.policies:
        for shown, _, timeline in view.timelines():
            if shown == policy and (known := _predicted(timeline.pauses)):
                return _section(view, policy, known)
    return Section(
        "predictions", _TITLE, sentence("No run recorded predictions of tool durations.")
    )


def _predicted(pauses: list[PauseRecord]) -> list[Prediction]:
    return [
        Prediction(pause.tool, pause.actual_s, p50_s, p95_s)
        for pause in pauses
        if (p50_s := pause.predicted_p50_s) is not None
        and (p95_s := pause.predicted_p95_s) is not None
        and math.isfinite(p95_s)
    ]


def _section(view: View, policy: str, known: list[Prediction]) -> Section:
    actual = [p.actual_s for p in known]
    panels = [
        _panel(view, "median", "Actual, seconds", [p.p50_s for p in known], actual, "median"),
        _panel(view, "p95", "Actual, seconds", [p.p95_s for p in known], actual, "95th percentile"),
    ]
    caption = (
        f"{count(len(known))} pauses under {policy}; the darker a cell, the more of them. On the "
        "line the prediction was exact, below it the tool was faster. Of good predictions half of "
        "the pauses lie below the line in the first picture, 95 % in the second."
    )
    figure = view.figure(panels, caption)
    return Section("predictions", _TITLE, Html(figure + _tools(view, known)))


def _panel(
    view: View, name: str, title: str, predicted: list[float], actual: list[float], what: str
) -> Html:
    def paint(figure: Figure) -> None:
        import numpy as np

        plot = axes(figure, title, f"Predicted {what}, seconds")
        x = np.maximum(np.asarray(predicted), _SHORTEST_S)
        y = np.maximum(np.asarray(actual), _SHORTEST_S)
        low, high = min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3
        edges = np.geomspace(low, high, _CELLS + 1)
        number, _, _ = np.histogram2d(x, y, bins=(edges, edges))
        # Shades by the logarithm keep the few and the many apart.
        shade = np.ceil(np.log2(number + 1) / np.log2(number.max() + 1) * _SHADES)
        for level in range(1, _SHADES + 1):
            boxes = [
                (edges[i], edges[j], edges[i + 1], edges[j + 1])
                for i, j in np.argwhere(shade == level)
            ]
            alpha = 0.12 + 0.88 * level / _SHADES
            add_boxes(plot, boxes, (0.0, 0.447, 0.698, alpha))
        plot.plot([low, high], [low, high], color=INK, linewidth=1.0)
        plot.set_xlim(low, high)
        plot.set_ylim(low, high)
        log_scale(plot, "x", "y")

    label = view.described(f"Actual duration of tools against the predicted {what}")
    return panel(draw(f"predicted-{name}", label, paint))


def _tools(view: View, known: list[Prediction]) -> Html:
    by_tool: dict[str, list[Prediction]] = {}
    for prediction in known:
        by_tool.setdefault(prediction.tool, []).append(prediction)
    ranked = sorted(by_tool, key=lambda tool: (-len(by_tool[tool]), tool))
    rows = [_row(brief(tool), by_tool[tool]) for tool in ranked[:_TOOLS]]
    if rest := ranked[_TOOLS:]:
        rows.append(
            _row(f"{count(len(rest))} other tools", [p for tool in rest for p in by_tool[tool]])
        )
    rows.append(_row("all tools", known))
    headings = ["tool", "pauses", "median, s", "p95, s", "within p50", "within p95"]
    caption = "Per tool. Within: the share of pauses that ended by the predicted quantile."
    return table(headings, rows, view.badge(), caption)


def _row(tool: str, known: list[Prediction]) -> list[str]:
    ordered = sorted(p.actual_s for p in known)
    return [
        tool,
        count(len(known)),
        significant(ordered[(len(ordered) - 1) // 2]),
        significant(ordered[round((len(ordered) - 1) * 0.95)]),
        percent(sum(p.actual_s <= p.p50_s for p in known) / len(known)),
        percent(sum(p.actual_s <= p.p95_s for p in known) / len(known)),
    ]
