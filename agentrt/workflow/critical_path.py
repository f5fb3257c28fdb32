"""What a run had to wait for: from its end back to its beginning, always to what ended last."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import networkx as nx

from agentrt.workflow.graph import StepKind

#: What the time of a path is spent in, beside the kinds of steps.
QUEUE = "queue"
CODE = "code"


def critical_path(graph: nx.DiGraph) -> list[str]:
    """The nodes of the path that decided when the last program ended, the first one first.

    Making any step beside it faster would not have ended the run sooner.
    """
    if not graph:
        return []
    ends = nx.get_node_attributes(graph, "end_s")
    node = max(graph, key=lambda each: (ends[each], graph.out_degree(each) == 0))
    path = [node]
    while before := list(graph.predecessors(node)):
        node = max(before, key=lambda each: ends[each])
        path.append(node)
    return path[::-1]


def time_on_path(graph: nx.DiGraph, path: list[str]) -> dict[str, float]:
    """Seconds of a path by what they were spent in, the most first.

    `turn` is without the time in the engine's queue, which is `queue` where the engine says it;
    `code` is what the agents' own code took between steps.
    """
    spent: Counter[str] = Counter()
    for node in path:
        step = graph.nodes[node]
        queued = step.get("queue_s", 0.0)
        spent[QUEUE] += queued
        spent[step["kind"]] += step["end_s"] - step["start_s"] - queued
    for one, next_one in pairwise(path):
        spent[CODE] += graph.edges[one, next_one]["gap_s"]
    for moment in (StepKind.BEGIN, StepKind.END):
        del spent[moment.value]
    return {what: seconds for what, seconds in spent.most_common() if seconds > 0}
