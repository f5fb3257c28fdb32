"""What `agentrt trace` prints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrt.cli import console
from agentrt.replay.formats.catalog import FORMATS, TraceFormat
from agentrt.replay.formats.validation import counted
from agentrt.replay.lint import Cause, LintReport
from agentrt.replay.statistics import Summary, TraceStatistics, context_tokens
from agentrt.replay.trace_file import Trace
from agentrt_engine.wire.trace import ProgramRecord

_TOOLS_SHOWN = 12
_PROGRAMS_SHOWN = 10
_PROGRAM_WIDTH = 26
_AGENT_WIDTH = 18
_NAME_WIDTH = 36


def inspection(
    trace: Trace, statistics: TraceStatistics, shown: Iterable[ProgramRecord]
) -> dict[str, Any]:
    """What `agentrt trace inspect` found, for `--json`."""
    return {
        "file": str(trace.path),
        "format": trace.format,
        "experimental": FORMATS[trace.format].experimental,
        "metadata": trace.metadata,
        "notes": trace.notes,
        "programs": statistics.programs,
        "turns": statistics.turns,
        "children": statistics.children,
        "agents": statistics.agents,
        "tools": {tool.name: tool.calls for tool in statistics.tools},
        "arrival_span_s": statistics.arrival_span_s,
        "first_programs": [_program_line(program) for program in shown],
    }


def _program_line(program: ProgramRecord) -> dict[str, Any]:
    return {
        "program_id": program.program_id,
        "agent": program.agent,
        "parent_id": program.parent_id,
        "arrival_s": program.arrival_s,
        "turns": len(program.turns),
        "largest_context_tokens": max(context_tokens(turn) for turn in program.turns),
        "new_tokens": sum(turn.new_tokens for turn in program.turns),
        "output_tokens": sum(turn.output_tokens for turn in program.turns),
        "tool_calls": sum(len(turn.tools) for turn in program.turns),
        "pause_s": sum(turn.pause_s or 0.0 for turn in program.turns[:-1]),
    }


def print_inspection(
    to: Console, trace: Trace, statistics: TraceStatistics, shown: list[ProgramRecord]
) -> None:
    """What `agentrt trace inspect` shows."""
    _print_heading(to, trace.path, trace.format)
    facts = _facts()
    children = f", {counted(statistics.children, 'subagent')}" if statistics.children else ""
    count = f"{counted(statistics.programs, 'program')} with {counted(statistics.turns, 'turn')}"
    facts.add_row("programs", count + children)
    facts.add_row("agents", Text(_tally(statistics.agents)))
    calls = {tool.name: tool.calls for tool in statistics.tools}
    facts.add_row("tools", Text(_tally(calls) if calls else "none recorded"))
    span = statistics.arrival_span_s
    facts.add_row("arrivals", "not in the trace" if span is None else f"within {_seconds(span)}")
    for key, value in trace.metadata.items():
        facts.add_row(Text(key, style="dim"), Text(_short(value), style="dim"))
    _show(to, facts)
    print_notes(to, trace)
    if shown:
        to.print()
        _show(to, _program_table(shown))
    hidden = statistics.programs - len(shown)
    if hidden > 0:
        to.print(f"… and {counted(hidden, 'more program')}", style="dim")


def _program_table(programs: Iterable[ProgramRecord]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("program", no_wrap=True, overflow="ellipsis", max_width=_PROGRAM_WIDTH)
    table.add_column("agent", no_wrap=True, overflow="ellipsis", max_width=_AGENT_WIDTH)
    for heading in ("arrival", "turns", "context", "new", "output", "calls", "paused"):
        table.add_column(heading, justify="right", no_wrap=True)
    for program in programs:
        line = _program_line(program)
        arrival = program.arrival_s
        name = f"└ {program.program_id}" if program.parent_id else program.program_id
        table.add_row(
            Text(name),
            Text(program.agent),
            "–" if arrival is None else _seconds(arrival),
            f"{line['turns']:,}",
            _tokens(line["largest_context_tokens"]),
            _tokens(line["new_tokens"]),
            _tokens(line["output_tokens"]),
            f"{line['tool_calls']:,}",
            _seconds(line["pause_s"]),
        )
    return table


def print_statistics(
    to: Console, path: Path, format: TraceFormat, statistics: TraceStatistics
) -> None:
    """Tables of `agentrt trace stats` for one file."""
    _print_heading(to, path, format)
    facts = _facts()
    count = f"{counted(statistics.programs, 'program')} with {counted(statistics.turns, 'turn')}"
    facts.add_row("programs", count)
    facts.add_row("reusable", f"{statistics.reusable_share:.1%} of all prompt tokens")
    shared = statistics.shared_share
    known = "not in the trace" if shared is None else f"{shared:.1%} of the first prompts' tokens"
    facts.add_row("shared prefixes", known)
    for kv in statistics.footprints:
        held = (
            f"{_tokens(kv.mean_tokens)} tokens at the mean, {_tokens(kv.peak_tokens)} at the peak"
        )
        active = min(kv.active_programs, statistics.programs)
        facts.add_row(f"KV of {active} programs", held)
        if active < kv.active_programs:
            break
    _show(to, facts)
    to.print()
    _show(to, _token_table(statistics))
    if not statistics.pauses and not statistics.tools:
        return
    to.print()
    _show(to, _time_table(statistics))
    hidden = len(statistics.tools) - _TOOLS_SHOWN
    if hidden > 0:
        to.print(f"… and {counted(hidden, 'more tool')} (all of them: --json)", style="dim")


def _token_table(statistics: TraceStatistics) -> Table:
    table = _table("tokens per turn")
    for heading in ("mean", "p50", "p95", "p99", "max"):
        table.add_column(heading, justify="right")
    rows = {
        "context": statistics.context_tokens,
        "new": statistics.new_tokens,
        "output": statistics.output_tokens,
    }
    for name, summary in rows.items():
        table.add_row(name, *(_tokens(value) for value in _values(summary)))
    turns = statistics.turns_per_program
    table.add_row("turns per program", *(f"{value:,.0f}" for value in _values(turns)))
    return table


def _time_table(statistics: TraceStatistics) -> Table:
    table = _table("pauses and tools")
    for heading in ("count", "mean", "p50", "p95", "p99", "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pause in statistics.pauses:
        name = f"pause: {pause.kind}{_unknown(pause.unknown)}"
        table.add_row(name, *_time_cells(pause.seconds))
    if statistics.tools:
        table.add_section()
    for tool in statistics.tools[:_TOOLS_SHOWN]:
        name = f"{tool.name}{_unknown(tool.unknown)}"
        table.add_row(Text(name, overflow="ellipsis"), *_time_cells(tool.seconds))
    return table


def _unknown(number: int) -> str:
    return f" (+{number:,} untimed)" if number else ""


def _time_cells(summary: Summary) -> list[str]:
    if summary.count == 0:
        return ["0", *("–" for _ in _values(summary))]
    return [f"{summary.count:,}", *(_seconds(value) for value in _values(summary))]


def _values(summary: Summary) -> tuple[float, ...]:
    return (summary.mean, summary.p50, summary.p95, summary.p99, summary.max)


def print_report(to: Console, trace: Trace, report: LintReport) -> None:
    """Tables of `agentrt trace lint`."""
    _print_heading(to, trace.path, trace.format)
    share = f"{report.share:.2%} of all prompt tokens"
    if report.follow_ups == 0:
        to.print("Nothing to compare: no program has a second turn.")
        return
    if not report.breaks:
        number = f"{report.follow_ups:,}"
        to.print(f"Clean: every follow-up turn extends the turn before ({number} of {number}).")
        return
    to.print(
        f"{len(report.breaks):,} of {counted(report.follow_ups, 'follow-up turn')} do not extend "
        f"the turn before; {_tokens(report.wasted_tokens)} tokens wasted, {share}."
    )
    to.print()
    causes = _table("cause")
    for heading in ("turns", "wasted", "share"):
        causes.add_column(heading, justify="right", no_wrap=True)
    causes.add_column("likely", overflow="fold")
    for total in report.causes:
        part = f"{total.wasted_tokens / report.prompt_tokens:.2%}"
        wasted = _tokens(total.wasted_tokens)
        causes.add_row(total.cause, f"{total.turns:,}", wasted, part, total.likely)
    _show(to, causes)
    to.print()
    worst = _table("worst programs")
    for heading in ("breaks", "wasted", "of its prompts", "worst turn"):
        worst.add_column(heading, justify="right", no_wrap=True)
    worst.add_column("mostly", no_wrap=True, min_width=max(len(cause) for cause in Cause))
    for program in report.programs[:_PROGRAMS_SHOWN]:
        worst.add_row(
            Text(program.program_id, overflow="ellipsis"),
            f"{program.breaks:,}",
            _tokens(program.wasted_tokens),
            f"{program.share:.2%}",
            f"{program.worst_turn:,}",
            program.cause,
        )
    _show(to, worst)
    hidden = len(report.programs) - _PROGRAMS_SHOWN
    if hidden > 0:
        to.print(f"… and {counted(hidden, 'more program')} (all turns: --json)", style="dim")


def _print_heading(to: Console, path: Path, format: TraceFormat) -> None:
    info = FORMATS[format]
    mark = " (experimental)" if info.experimental else ""
    to.print(Text.assemble((str(path), "bold"), f"  {info.title}{mark}"), soft_wrap=True)


def print_notes(to: Console, trace: Trace) -> None:
    """What reading the trace had to assume, leave out or change."""
    for note in trace.notes:
        to.print(Text.assemble(("note: ", "yellow"), note))


def _facts() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _table(name: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=_NAME_WIDTH)
    return table


def _show(to: Console, table: Table) -> None:
    to.print(table, width=min(to.width, console.MAX_WIDTH))


def _tally(counts: dict[str, int]) -> str:
    parts = [f"{name} × {number:,}" for name, number in list(counts.items())[:_TOOLS_SHOWN]]
    hidden = len(counts) - len(parts)
    return ", ".join(parts) + (f" and {hidden:,} more" if hidden > 0 else "")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    limit = 150
    return text if len(text) <= limit else text[:limit] + "…"


def _tokens(number: float) -> str:
    if number < 10_000:
        return f"{number:,.0f}"
    return f"{number / 1000:,.1f}k" if number < 1_000_000 else f"{number / 1e6:,.1f}M"


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:,.1f} s" if seconds < 1000 else f"{seconds:,.0f} s"
