"""A run as a page: when every program did what, and the path that decided how long it took."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import networkx as nx

from agentrt.replay.report.markup import Html, brief, join, tag
from agentrt.replay.report.view import areas_legend, panel, table
from agentrt.workflow.critical_path import critical_path, time_on_path
from agentrt.workflow.graph import StepKind
from agentrt.workflow.waits import waits

COLOURS = {StepKind.TURN: "#0072B2", StepKind.TOOL: "#E69F00"}
PATH_COLOUR = "#D55E00"
LIFE_COLOUR = "#DFE3E8"

#: Of the picture, in its own units: as wide as a phone.
WIDTH, ROW, TOP = 400, 22, 20
NAMES, RIGHT = 118, 8
TICKS = 4

#: Steps of the path that the table lists.
LISTED = 60


def page(graph: nx.DiGraph) -> str:
    """One HTML file that needs no other."""
    path = critical_path(graph)
    programs = graph.graph["programs"]
    seconds = max((program["end_s"] for program in programs), default=0.0)
    title = f"A run of {len(programs)} program{'s' * (len(programs) != 1)}, {seconds:.1f} s"
    legend = areas_legend(
        {
            "model": COLOURS[StepKind.TURN],
            "tool": COLOURS[StepKind.TOOL],
            "on the critical path": PATH_COLOUR,
        }
    )
    caption = tag(
        "figcaption",
        "A row is a program, a child further to the right below its parent; a bar is a turn or a "
        "tool call, seconds from the beginning of the run. The line above the bars is the "
        "critical path: making anything else faster would not have ended the run sooner.",
    )
    picture = tag(
        "figure",
        legend,
        tag("div", panel(_picture(graph, path, seconds)), style="max-width: 42rem"),
        caption,
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag(
            "style", Html(files("agentrt.replay.report").joinpath("report.css").read_text("utf-8"))
        ),
    )
    body = tag(
        "body",
        tag("header", tag("p", "agentrt run", class_="kicker"), tag("h1", title)),
        tag(
            "main",
            tag("section", tag("h2", "When"), picture),
            tag("section", tag("h2", "Critical path"), _spent(graph, path), _steps(graph, path)),
            *_waits(graph),
        ),
    )
    return join(Html("<!doctype html>\n"), tag("html", head, body, lang="en"), Html("\n"))


def _picture(graph: nx.DiGraph, path: list[str], seconds: float) -> Html:
    rows = _rows(graph.graph["programs"])
    at = {program["id"]: TOP + ROW * number for number, (program, _depth) in enumerate(rows)}
    scale = (WIDTH - NAMES - RIGHT) / (seconds or 1.0)
    bottom = TOP + ROW * len(rows)
    drawn = [*_axis(seconds, scale, bottom)]
    for program, depth in rows:
        y = at[program["id"]]
        name = f"{'  ' * depth}{brief(program['label'])}"
        drawn.append(_text(2 + 8 * depth, y + 14, name[: 20 - 2 * depth], "start"))
        life = (program["end_s"] - program["start_s"]) * scale
        drawn.append(_bar(NAMES + program["start_s"] * scale, y + 9, life, 4, LIFE_COLOUR, ""))
    on_path = set(path)
    for node, step in graph.nodes(data=True):
        if step["kind"] not in COLOURS:
            continue
        x, width = NAMES + step["start_s"] * scale, (step["end_s"] - step["start_s"]) * scale
        y = at[step["program"]]
        told = f"{step['label']}: {step['end_s'] - step['start_s']:.2f} s"
        drawn.append(_bar(x, y + 6, max(width, 0.6), 10, COLOURS[step["kind"]], told))
        if node in on_path:
            drawn.append(_bar(x, y + 2.5, max(width, 0.6), 2, PATH_COLOUR, told))
    label = f"When each of {len(rows)} programs asked the model and called tools"
    return tag("svg", *drawn, viewBox=f"0 0 {WIDTH} {bottom + 18}", role="img", aria_label=label)


def _rows(programs: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Programs with their depth, each followed by its children."""
    rows: list[tuple[dict[str, Any], int]] = []

    def add(program: dict[str, Any], depth: int) -> None:
        rows.append((program, depth))
        for child in programs:
            if child["parent"] == program["id"]:
                add(child, depth + 1)

    for program in programs:
        if program["parent"] is None:
            add(program, 0)
    return rows


def _axis(seconds: float, scale: float, bottom: float) -> list[Html]:
    drawn = []
    for number in range(TICKS + 1):
        at = seconds * number / TICKS
        x = NAMES + at * scale
        drawn.append(
            tag("path", d=f"M{x:.1f} {TOP}V{bottom}", stroke=LIFE_COLOUR, stroke_width="0.6")
        )
        drawn.append(_text(x, bottom + 13, f"{at:.1f} s", "end" if number == TICKS else "middle"))
    return drawn


def _bar(x: float, y: float, width: float, height: float, colour: str, told: str) -> Html:
    title = tag("title", told) if told else Html()
    return tag(
        "rect", title, x=f"{x:.2f}", y=f"{y:.1f}", width=f"{width:.2f}", height=f"{height}",
        fill=colour,
    )  # fmt: skip


def _text(x: float, y: float, words: str, anchor: str) -> Html:
    return tag(
        "text", words, x=f"{x:.1f}", y=f"{y:.1f}", font_size="10", fill="#24292F",
        text_anchor=anchor,
    )  # fmt: skip


def _spent(graph: nx.DiGraph, path: list[str]) -> Html:
    spent = time_on_path(graph, path)
    total = sum(spent.values()) or 1.0
    rows = [[what, f"{s:.2f}", f"{s / total:.0%}"] for what, s in spent.items()]
    return table(["on the path", "seconds", "share"], rows, "What the path is spent in.")


def _steps(graph: nx.DiGraph, path: list[str]) -> Html:
    labels = _labels(graph)
    rows = []
    for node in path[:LISTED]:
        step = graph.nodes[node]
        rows.append(
            [
                step["label"],
                labels[step["program"]],
                f"{step['start_s']:.2f}",
                f"{step['end_s'] - step['start_s']:.2f}",
            ]
        )
    more = len(path) - len(rows)
    caption = "The path, step by step." + (f" {more} more steps are left out." if more else "")
    return table(["step", "program", "began, s", "took, s"], rows, caption, words=("program",))


def _waits(graph: nx.DiGraph) -> list[Html]:
    """Nothing where no program waited for a subagent."""
    labels = _labels(graph)
    rows = [
        [
            labels[wait.program],
            graph.nodes[wait.step]["label"],
            labels[wait.child],
            f"{wait.seconds:.2f}",
        ]
        for wait in waits(graph)[:LISTED]
    ]
    if not rows:
        return []
    caption = (
        "How long programs that had nothing else to do waited for subagents, the longest first."
    )
    headings = ["program", "before", "waited for", "seconds"]
    return [
        tag(
            "section",
            tag("h2", "What waited for what"),
            table(headings, rows, caption, words=("before", "waited for")),
        )
    ]


def _labels(graph: nx.DiGraph) -> dict[str, str]:
    return {program["id"]: program["label"] for program in graph.graph["programs"]}
