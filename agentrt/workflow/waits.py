"""Which steps had to wait for subagents, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx


@dataclass(frozen=True, slots=True)
class Wait:
    """A program had done all before a step, and then waited for a child.

    Attributes:
        step: node of the step that came after.
        program: that waited, its id; child: that it waited for.
        seconds: from the end of what the program did last to the end of the child.
    """

    step: str
    program: str
    child: str
    seconds: float


def waits(graph: nx.DiGraph) -> list[Wait]:
    """What waited for what, the longest first."""
    found = []
    owners = nx.get_node_attributes(graph, "program")
    for node, program in owners.items():
        number = node.rpartition("/")[2]
        children = [each for each in graph.predecessors(node) if owners[each] != program]
        if number == "0" or not children:
            continue
        ready_s = graph.nodes[f"{program}/{int(number) - 1}"]["end_s"]
        for end in children:
            child = graph.nodes[end]
            if (seconds := child["end_s"] - ready_s) > 0:
                found.append(Wait(node, program, child["program"], seconds))
    return sorted(found, key=lambda wait: -wait.seconds)
