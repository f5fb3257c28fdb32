"""What `agentrt run` shows: programs while they run, and a summary when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydantic_core
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from agentrt.cli.console import MAX_WIDTH
from agentrt.program import Clock, Program, ProgramState, sum_known

_STYLES = {
    ProgramState.PENDING: "dim",
    ProgramState.MODEL: "cyan",
    ProgramState.TOOL: "yellow",
    ProgramState.FINISHED: "green",
    ProgramState.FAILED: "bold red",
    ProgramState.CANCELLED: "magenta",
}

_SUMMARY = (
    "program", "state", "turns", "tokens in", "cached", "out",
    "model s", "queue s", "tools s", "total s",
)  # fmt: skip

UNKNOWN = "–"

#: Columns for the name of a program where it is not alone on its line.
_LABEL_WIDTH = 20

#: Columns between those of a table.
_GAP = 2


class LiveView:
    """One line per program; rich renders it anew several times a second.

    Where the screen has fewer lines than there are programs, those that run come first.
    """

    def __init__(self, programs: Sequence[Program], expected: int, clock: Clock) -> None:
        self._programs = programs
        self._expected = expected
        self._clock = clock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(1, (options.height or console.height) - 3)
        shown = sorted(self._programs, key=lambda program: program.state.ended)[:room]
        shown.sort(key=self._programs.index)
        table = Table(box=None, pad_edge=False)
        for heading in ("program", "state", "tool"):
            table.add_column(heading, no_wrap=True)
        for heading in ("turn", "tokens in", "cached", "out", "seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
        for program in shown:
            table.add_row(
                _label(program),
                _state(program),
                program.current_tool or "",
                str(program.turn),
                f"{program.input_tokens:,}",
                _tokens(program.cached_tokens),
                f"{program.output_tokens:,}",
                f"{_elapsed(program, self._clock()):.1f}",
            )
        yield table
        ended = sum(program.state.ended for program in self._programs)
        yield Text(f"{ended} of {self._expected} programs ended", style="dim")


def summary_table(programs: Sequence[Program]) -> Table:
    """One line per program and one for all of them, at most `MAX_WIDTH` columns."""
    rows = [_summary_row(program) for program in programs]
    totals = [
        f"{sum(p.state is ProgramState.FINISHED for p in programs)} finished",
        str(sum(len(p.turns) for p in programs)),
        f"{sum(p.input_tokens for p in programs):,}",
        _tokens(sum_known(p.cached_tokens for p in programs)),
        f"{sum(p.output_tokens for p in programs):,}",
        f"{sum(p.model_s for p in programs):.1f}",
        _seconds(sum_known(p.queue_s for p in programs)),
        f"{sum(p.tool_s for p in programs):.1f}",
        "",
    ]
    columns = zip(_SUMMARY[1:], totals, *rows, strict=True)
    taken = sum(max(map(len, column)) + _GAP for column in columns)
    table = Table(box=None, pad_edge=False, show_footer=len(programs) > 1)
    table.add_column(_SUMMARY[0], footer="total", no_wrap=True)
    for heading, total in zip(_SUMMARY[1:], totals, strict=True):
        left = heading == "state"
        table.add_column(heading, footer=total, justify="left" if left else "right", no_wrap=True)
    for program, (_, *numbers) in zip(programs, rows, strict=True):
        table.add_row(_label(program, MAX_WIDTH - taken), _state(program), *numbers)
    return table


def _summary_row(program: Program) -> list[str]:
    return [
        program.state,
        str(len(program.turns)),
        f"{program.input_tokens:,}",
        _tokens(program.cached_tokens),
        f"{program.output_tokens:,}",
        f"{program.model_s:.1f}",
        _seconds(program.queue_s),
        f"{program.tool_s:.1f}",
        f"{_elapsed(program, 0.0):.1f}",
    ]


def one_line(program: Program) -> Text:
    """How a program ended, on one line."""
    said = program.error or str(program.output)
    return Text.assemble(
        (_label(program), "bold"), " ", _state(program), ": ", " ".join(said.split())
    )


def as_json(program: Program) -> dict[str, Any]:
    """A program as an object of `--json`."""
    return {
        "program_id": program.program_id,
        "label": program.label,
        "state": program.state,
        "output": pydantic_core.to_jsonable_python(program.output, fallback=str),
        "error": program.error or None,
        "turns": len(program.turns),
        "input_tokens": program.input_tokens,
        "cached_tokens": program.cached_tokens,
        "output_tokens": program.output_tokens,
        "model_s": program.model_s,
        "queue_s": program.queue_s,
        "tool_s": program.tool_s,
        "total_s": _elapsed(program, 0.0),
        "tools": [
            {"name": call.name, "outcome": call.outcome, "seconds": call.seconds}
            for call in program.tool_calls
        ],
    }


def _label(program: Program, width: int = _LABEL_WIDTH) -> str:
    """The program's label; of a long one the end is kept, which tells copies apart."""
    copy = f"#{program.copy}"
    room = max(2, width - len(copy))
    name = program.agent
    return (name if len(name) <= room else name[: room - 1] + "…") + copy


def _elapsed(program: Program, now: float) -> float:
    if program.started is None:
        return 0.0
    return (now if program.ended is None else program.ended) - program.started


def _state(program: Program) -> Text:
    return Text(program.state, style=_STYLES[program.state])


def _tokens(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def _seconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds:.1f}"
