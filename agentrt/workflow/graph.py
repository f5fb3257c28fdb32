"""The graph of a run: a node for each step of a program, an edge where one step follows another.

A program's steps are its beginning, its turns, its tool calls and its end. To its parent a child is
one more step, from its beginning to its end: what came before it in the parent precedes its
beginning, and what comes after it in the parent follows its end. Of the steps that were over when
another began, only those precede it by which no other came in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import networkx as nx

from agentrt.program import Program, ToolCall, Turn


class StepKind(StrEnum):
    """What a program did in a step."""

    BEGIN = "begin"
    TURN = "turn"
    TOOL = "tool"
    END = "end"


@dataclass(frozen=True, slots=True)
class _Span:
    """A step, or a child as its parent sees it.

    Attributes:
        start, end: seconds on the runtime's clock.
        rank: which of two steps at the same moment comes first.
        entry, exit: nodes by which it is entered and left.
    """

    start: float
    end: float
    rank: float
    entry: str
    exit: str

    @property
    def order(self) -> tuple[float, float, float]:
        """Steps that follow each other in time are in this order."""
        return self.start, self.end, self.rank


def workflow_graph(programs: Iterable[Program]) -> nx.DiGraph:
    """The graph of programs that have ended; those that have not are left out, with their children.

    Nodes are `PROGRAM_ID/NUMBER` and have the attributes `kind` (a `StepKind`), `program`, `agent`,
    `label`, `start_s` and `end_s` (from the beginning of the first program), `queue_s` of turns
    where the engine says it, and `outcome` of tool calls. Edges have `gap_s`, the seconds between
    one step and the next, which the agent's own code took. The graph's attribute `programs` has,
    for each program in the order of their beginnings: `id`, `label`, `parent`, `state`, `start_s`,
    `end_s`.
    """
    ended = [each for each in programs if each.started is not None and each.ended is not None]
    known = {program.program_id for program in ended}
    ended = [each for each in ended if all(above in known for above in _ancestors(each))]
    ended.sort(key=_began)
    origin = _began(ended[0]) if ended else 0.0
    graph = nx.DiGraph(
        programs=[
            {
                "id": program.program_id,
                "label": program.label,
                "parent": program.parent.program_id if program.parent else None,
                "state": program.state.value,
                "start_s": _began(program) - origin,
                "end_s": _over(program) - origin,
            }
            for program in ended
        ]
    )
    steps = {program.program_id: _add_steps(graph, program, origin) for program in ended}
    for program in ended:
        own = steps[program.program_id]
        before_end = len(own) - 1.5
        children = [
            _Span(_began(child), _over(child), before_end, *_ends(child))
            for child in program.children
            if child.program_id in known
        ]
        _connect(graph, [*own, *children])
    return graph


def _ancestors(program: Program) -> Iterable[str]:
    while program.parent is not None:
        program = program.parent
        yield program.program_id


def _began(program: Program) -> float:
    assert program.started is not None
    return program.started


def _over(program: Program) -> float:
    assert program.ended is not None
    return program.ended


def _ends(program: Program) -> tuple[str, str]:
    """The nodes of a program's beginning and end."""
    last = 1 + len(program.turns) + len(program.tool_calls)
    return f"{program.program_id}/0", f"{program.program_id}/{last}"


def _add_steps(graph: nx.DiGraph, program: Program, origin: float) -> list[_Span]:
    """A node for each step of a program, in order."""
    began, over = _began(program), _over(program)
    steps = [
        *(_turn_step(turn, number) for number, turn in enumerate(program.turns, 1)),
        *(_tool_step(call) for call in program.tool_calls),
    ]
    steps.sort(key=lambda step: (step["start_s"], step["end_s"]))
    steps.insert(0, _moment(StepKind.BEGIN, f"{program.label} begins", began))
    steps.append(_moment(StepKind.END, f"{program.label} {program.state}", over))
    spans = []
    for number, step in enumerate(steps):
        node = f"{program.program_id}/{number}"
        start, end = step["start_s"], step["end_s"]
        step |= {"start_s": start - origin, "end_s": end - origin}
        graph.add_node(node, program=program.program_id, agent=program.agent, **step)
        spans.append(_Span(start, end, number, node, node))
    return spans


def _moment(kind: StepKind, label: str, at: float) -> dict[str, Any]:
    return {"kind": kind.value, "label": label, "start_s": at, "end_s": at}


def _turn_step(turn: Turn, number: int) -> dict[str, Any]:
    queue = {} if turn.queue_s is None else {"queue_s": turn.queue_s}
    step = {"kind": StepKind.TURN.value, "label": f"turn {number}"}
    return step | {"start_s": turn.started, "end_s": turn.ended} | queue


def _tool_step(call: ToolCall) -> dict[str, Any]:
    step = {"kind": StepKind.TOOL.value, "label": call.name, "outcome": call.outcome.value}
    return step | {"start_s": call.started, "end_s": call.ended}


def _connect(graph: nx.DiGraph, spans: list[_Span]) -> None:
    """An edge to each span from those that were the last to end before it began."""
    first, *others = sorted(spans, key=lambda span: span.order)
    for span in others:
        over = [
            each
            for each in spans
            if each.end <= span.start and each.order < span.order and each is not first
        ]
        last_began = max((each.start for each in over), default=first.end)
        before = [each for each in over if each.end > last_began or each.start == last_began]
        for each in before or [first]:
            graph.add_edge(each.exit, span.entry, gap_s=span.start - each.end)
