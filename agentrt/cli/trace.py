"""`agentrt trace inspect`, `stats`, `convert` and `lint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.text import Text

from agentrt.cli import console, trace_view
from agentrt.cli.options import JsonTarget
from agentrt.errors import SettingError
from agentrt.replay.formats.catalog import FORMATS, TraceFormat, format_titles
from agentrt.replay.formats.validation import counted
from agentrt.replay.lint import lint_programs
from agentrt.replay.statistics import trace_statistics
from agentrt.replay.trace_file import Trace, load_trace, write_trace

_PROGRAMS_SHOWN = 10

HELP = f"""Look into traces of agent programs, convert and check them.

See what is in a file, then make it a trace that every command reads fast:

    agentrt trace inspect traces/runs/run.jsonl
    agentrt trace convert session.jsonl -o session.trace.jsonl.gz

The format is recognised by the content; files may be compressed with gzip:

{"".join(f"    {title}{chr(10)}" for title in format_titles())}
Experimental: never tried on a file from its real producer."""

app = App(name="trace", help=HELP, help_format="markdown")

ForcedFormat = Annotated[
    TraceFormat | None,
    Parameter(name="--format", help="Format of the file; recognised by the content when absent."),
]


@app.command
def inspect(
    file: Path,
    *,
    format: ForcedFormat = None,
    programs: Annotated[int, Parameter(name=["--programs", "-n"])] = _PROGRAMS_SHOWN,
    json: JsonTarget = None,
) -> None:
    """Say what a trace holds: format, programs, agents, tools, arrivals, and the first programs.

    Also what reading it had to assume, leave out or change.

    Examples:

        agentrt trace inspect traces/runs/run.jsonl
        agentrt trace inspect session.jsonl --format claude-code -n 3

    Parameters
    ----------
    file
        A trace of any known format, compressed with gzip or not.
    programs
        How many programs to list.
    """
    trace = _load(file, format)
    statistics = trace_statistics(trace.programs)
    shown = trace.programs[: max(0, programs)]
    console.write_json(json, trace_view.inspection(trace, statistics, shown))
    trace_view.print_inspection(console.results(json), trace, statistics, shown)


@app.command
def stats(*files: Path, format: ForcedFormat = None, json: JsonTarget = None) -> None:
    """Give the figures of traces: tokens, pauses, tools, KV footprint and what can be reused.

    Pauses are the times between a turn and the next request, by what the program waited for.
    The KV footprint is what 8 or 32 active programs hold: at the mean context, and at the peak,
    when the largest programs are active, each at its largest. Reusable prompt tokens are those
    that the turn before in the same program can have left in the cache.

    Examples:

        agentrt trace stats traces/runs/run.jsonl
        agentrt trace stats monday.jsonl.gz tuesday.jsonl.gz --json figures.json

    Parameters
    ----------
    files
        Traces of any known format.
    """
    if not files:
        raise SettingError(
            "no trace was given, expected at least one FILE", hint="agentrt trace stats FILE"
        )
    results = []
    for file in files:
        trace = _load(file, format)
        results.append((file, trace.format, trace_statistics(trace.programs)))
    console.write_json(
        json,
        [
            {"file": str(file), "format": found, "statistics": statistics}
            for file, found, statistics in results
        ],
    )
    to = console.results(json)
    for index, (file, found, statistics) in enumerate(results):
        if index:
            to.print()
        trace_view.print_statistics(to, file, found, statistics)


@app.command
def convert(
    file: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    format: ForcedFormat = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    json: JsonTarget = None,
) -> None:
    """Write a trace as agentrt.trace.v1.

    The result appears whole or not at all. Hash ids of blocks are kept, so that prefixes shared
    between programs stay shared.

    Examples:

        agentrt trace convert mooncake.jsonl -o mooncake.trace.jsonl.gz

    Parameters
    ----------
    file
        A trace of any known format.
    output
        The new file; compressed if its name ends in .gz.
    force
        Replace the output if it exists.
    """
    if output.exists() and not force:
        raise SettingError(f"{output} exists already", hint="replace it with --force")
    trace = _load(file, format)
    metadata: dict[str, Any] = {"source": file.name, "source_format": trace.format}
    if trace.notes:
        metadata["notes"] = trace.notes
    converted = Trace(
        trace.path, trace.format, metadata | trace.metadata, trace.programs, trace.notes
    )
    with console.progress.status(Text(f"Writing {output}")):
        write_trace(output, converted)
    turns = sum(len(program.turns) for program in trace.programs)
    console.write_json(
        json,
        {
            "output": str(output),
            "format": trace.format,
            "programs": len(trace.programs),
            "turns": turns,
            "notes": trace.notes,
        },
    )
    to = console.results(json)
    what = f"{counted(len(trace.programs), 'program')} with {counted(turns, 'turn')}"
    to.print(Text(f"{output}: {what}, from {FORMATS[trace.format].title}"), soft_wrap=True)
    trace_view.print_notes(to, trace)


@app.command
def lint(
    file: Path,
    *,
    format: ForcedFormat = None,
    strict: float | None = None,
    json: JsonTarget = None,
) -> int:
    """Find where consecutive turns of a program stop sharing a prefix, and the likely cause.

    A prompt that only appends to the turn before finds all of it in the KV cache. What stands
    after the first difference is computed again: these tokens are wasted. Exit code 0, or 1 with
    --strict when too many are.

    Examples:

        agentrt trace lint traces/runs/run.jsonl
        agentrt trace lint session.jsonl --strict 0.05

    Parameters
    ----------
    file
        A trace of any known format.
    strict
        Exit with 1 if more than this share of all prompt tokens is wasted.
    """
    if strict is not None and not 0 <= strict <= 1:
        raise SettingError(f"--strict {strict}: expected a share from 0 to 1", hint="e.g. 0.05")
    trace = _load(file, format)
    report = lint_programs(trace.programs)
    console.write_json(json, {"file": str(file), "format": trace.format, "report": report})
    to = console.results(json)
    trace_view.print_report(to, trace, report)
    if strict is not None and report.share > strict:
        to.print(f"Too much: more than {strict:.2%}, which --strict permits.", style="bold red")
        return 1
    return 0


def _load(file: Path, format: TraceFormat | None) -> Trace:
    with console.progress.status(Text(f"Reading {file}")):
        return load_trace(file, format=format)
