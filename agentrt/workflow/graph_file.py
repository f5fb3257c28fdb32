"""A graph as a file: DOT for graphviz, JSON for programs, HTML to look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import msgspec
import networkx as nx

from agentrt.errors import SettingError
from agentrt.replay.atomic_file import atomic_file
from agentrt.workflow.critical_path import critical_path, time_on_path
from agentrt.workflow.page import page
from agentrt.workflow.waits import waits

FORMAT = "agentrt.workflow.v1"


def as_dot(graph: nx.DiGraph) -> str:
    """For graphviz: a box for each program, its steps in it, the critical path in red."""
    path = critical_path(graph)
    steps = set(path)
    edges = set(pairwise(path))
    lines = ["digraph run {", "  rankdir=LR; node [shape=box, fontsize=10];"]
    for program in graph.graph["programs"]:
        lines += [
            f"  subgraph {_quoted('cluster ' + program['id'])} {{",
            f"    label={_quoted(program['label'])};",
        ]
        for node, step in graph.nodes(data=True):
            if step["program"] != program["id"]:
                continue
            label = f"{step['label']}\n{step['end_s'] - step['start_s']:.2f} s"
            colour = ", color=red, penwidth=2" if node in steps else ""
            lines.append(f"    {_quoted(node)} [label={_quoted(label)}{colour}];")
        lines.append("  }")
    for one, other in graph.edges:
        colour = " [color=red, penwidth=2]" if (one, other) in edges else ""
        lines.append(f"  {_quoted(one)} -> {_quoted(other)}{colour};")
    return "\n".join([*lines, "}", ""])


def as_json(graph: nx.DiGraph) -> str:
    """networkx's node-link form, with the critical path and what waited for subagents."""
    path = critical_path(graph)
    document = {
        "format": FORMAT,
        **nx.node_link_data(graph, edges="edges"),
        "critical_path": path,
        "time_on_path_s": time_on_path(graph, path),
        "waits": [asdict(wait) for wait in waits(graph)],
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"


_WRITERS: dict[str, Callable[[nx.DiGraph], str]] = {
    ".dot": as_dot,
    ".json": as_json,
    ".html": page,
}


def check_graph_name(path: Path) -> None:
    """Whether a graph can be written to a file of that name.

    Raises:
        SettingError: its ending names no format.
    """
    if path.suffix not in _WRITERS:
        endings = ", ".join(_WRITERS)
        raise SettingError(f"graph {path}: expected a name that ends in one of {endings}")


def write_graph(path: Path, graph: nx.DiGraph) -> None:
    """Write it in the format that the file's name ends in; the file appears whole.

    Raises:
        SettingError: the ending names no format, or the file cannot be written.
    """
    check_graph_name(path)
    text = _WRITERS[path.suffix](graph)
    with atomic_file(path, what="graph") as file:
        file.write(text.encode())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
