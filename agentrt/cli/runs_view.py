"""What `agentrt runs` and `resume` show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from agentrt.journal.events import (
    Event,
    ProgramBegan,
    ProgramEnded,
    RunBegan,
    RunResumed,
    ToolEnded,
    ToolIntended,
    TurnEnded,
)
from agentrt.journal.runs import ProgramSummary, RunState, RunSummary
from agentrt.program import ProgramState
from agentrt.text import excerpt

_STYLES = {
    RunState.RUNNING: "cyan",
    RunState.FINISHED: "green",
    RunState.UNFINISHED: "yellow",
    RunState.DAMAGED: "bold red",
}

#: State of a program that did not come to an end.
INTERRUPTED = "interrupted"

_SAID_WIDTH = 40
_ID_CHARACTERS = 8


def runs_table(runs: Sequence[RunSummary]) -> Table:
    """One line per run."""
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("programs", "finished", "turns", "tool calls", "tokens out"):
        table.add_column(heading, justify="right")
    for run in runs:
        finished = sum(p.state is ProgramState.FINISHED for p in run.programs)
        table.add_row(
            run.name,
            Text(run.state, style=_STYLES[run.state]),
            str(len(run.programs)),
            str(finished),
            str(sum(p.turns for p in run.programs)),
            str(sum(p.tool_calls for p in run.programs)),
            f"{sum(p.output_tokens for p in run.programs):,}",
        )
    return table


def programs_table(programs: Sequence[ProgramSummary]) -> Table:
    """One line per program, children behind a mark."""
    table = Table(box=None, pad_edge=False)
    for heading in ("program", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("turns", "tool calls", "tokens in", "out", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("said", no_wrap=True, overflow="ellipsis", max_width=_SAID_WIDTH)
    for program, label in zip(programs, _labels(programs), strict=True):
        table.add_row(
            f"  {label}" if program.parent else label,
            program.state or INTERRUPTED,
            str(program.turns),
            str(program.tool_calls),
            f"{program.input_tokens:,}",
            f"{program.output_tokens:,}",
            f"{program.elapsed_s:.1f}",
            Text(program.error or _returned(program)),
        )
    return table


def event_rows(events: Iterable[Event]) -> list[Text]:
    """One line per event."""
    return [
        Text.assemble((f"{number:>5} ", "dim"), *_words(event))
        for number, event in enumerate(events, 1)
    ]


def as_json(run: RunSummary) -> dict[str, Any]:
    """A run as an object of `--json`."""
    begins = run.begins or RunBegan(created="")
    return {
        "run": run.name,
        "folder": str(run.folder),
        "state": run.state,
        "began": begins.created or None,
        "target": begins.target or None,
        "problem": run.problem or None,
        "programs": [
            {
                "program_id": program.program,
                "label": label,
                "parent_id": program.parent,
                "state": program.state or INTERRUPTED,
                "turns": program.turns,
                "tool_calls": program.tool_calls,
                "input_tokens": program.input_tokens,
                "output_tokens": program.output_tokens,
                "seconds": program.elapsed_s,
                "error": program.error or None,
                "output": msgspec.json.decode(program.output) if program.output else None,
            }
            for program, label in zip(run.programs, _labels(run.programs), strict=True)
        ],
    }


def _labels(programs: Sequence[ProgramSummary]) -> list[str]:
    seen: Counter[str] = Counter()
    labels = []
    for program in programs:
        seen[program.agent] += 1
        labels.append(f"{program.agent}#{seen[program.agent]}")
    return labels


def _returned(program: ProgramSummary) -> str:
    value = msgspec.json.decode(program.output) if program.output else ""
    return " ".join(value.split()) if isinstance(value, str) else program.output or ""


def _words(event: Event) -> tuple[str, ...]:
    match event:
        case RunBegan():
            return (f"run began {event.created}",)
        case RunResumed():
            return (f"resumed {event.created}",)
        case ProgramBegan():
            return (_id(event.program), f"{event.agent} began")
        case TurnEnded():
            return (_id(event.program), f"turn: {excerpt(event.text, _SAID_WIDTH * 2)}")
        case ToolIntended():
            return (_id(event.program), f"{event.name} begins")
        case ToolEnded():
            said = excerpt(event.text, _SAID_WIDTH * 2)
            return (_id(event.program), f"{event.name} {event.outcome}: {said}")
        case ProgramEnded():
            return (_id(event.program), f"{event.state} {event.error}")


def _id(program: str) -> str:
    return f"{program[:_ID_CHARACTERS]} "
