"""`agentrt runs list`, `show` and `prune`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from agentrt.cli import console
from agentrt.cli.options import JsonTarget
from agentrt.cli.runs_view import as_json, event_rows, programs_table, runs_table
from agentrt.errors import JournalDamaged, SettingError
from agentrt.journal.runs import (
    RunState,
    RunSummary,
    find_run,
    read_events,
    read_run,
    remove_run,
    run_folders,
    runs_dir,
)

app = App(
    name="runs",
    help="Runs of agentrt run: what they did, and removing them.",
)


@app.command(name="list")
def list_(
    *, limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 20, json: JsonTarget = None
) -> None:
    """List the runs, the last one first.

    Examples:

        agentrt runs list
        agentrt runs list -n 100 --json runs.json

    Parameters
    ----------
    limit
        Runs to show.
    """
    if limit < 1:
        raise SettingError(f"--limit is {limit}: expected at least 1")
    folders = run_folders()
    runs = [read_run(folder) for folder in folders[:limit]]
    to = console.results(json)
    if runs:
        to.print(runs_table(runs))
        if len(folders) > limit:
            to.print(f"\nand {len(folders) - limit} earlier ones")
    else:
        to.print(f"no runs in {runs_dir()}", soft_wrap=True)
    console.write_json(json, [as_json(run) for run in runs])


@app.command
def show(
    run: str, *, events: Annotated[bool, Parameter(negative="")] = False, json: JsonTarget = None
) -> None:
    """Show what the programs of a run did.

    Examples:

        agentrt runs show last
        agentrt runs show last --events

    Parameters
    ----------
    run
        Name of a run, its beginning, or "last".
    events
        Also everything in the journal, one event a line: replies and results, cut to the line.
    """
    summary = read_run(find_run(run))
    if summary.state is RunState.DAMAGED:
        raise JournalDamaged(summary.problem, hint="agentrt runs prune NAME removes it")
    to = console.results(json)
    target = summary.begins.target if summary.begins else ""
    to.print(f"{summary.name}: {summary.state}; {target}", soft_wrap=True, markup=False)
    to.print()
    to.print(programs_table(summary.programs))
    document = as_json(summary)
    if events:
        rows = event_rows(read_events(summary.folder))
        to.print()
        for row in rows:
            to.print(row, no_wrap=True, overflow="ellipsis")
        document["events"] = [str(row) for row in rows]
    console.write_json(json, document)


@app.command
def prune(
    *runs: str,
    older_than: float | None = None,
    unfinished: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: JsonTarget = None,
) -> None:
    """Remove runs with their journals and workspaces: those named, or all that have finished.

    A run that is running stays in any case.

    Examples:

        agentrt runs prune
        agentrt runs prune --older-than 7 --unfinished
        agentrt runs prune 20261128-101500250-fixer

    Parameters
    ----------
    runs
        Names of runs; without any, all that have finished.
    older_than
        Only those that began more than so many days ago.
    unfinished
        Also those that have not finished, and damaged ones.
    dry_run
        Only say what would be removed.
    """
    if older_than is not None and older_than < 0:
        raise SettingError(f"--older-than is {older_than:g}: expected days, 0 or more")
    if runs:
        chosen = [read_run(find_run(name)) for name in dict.fromkeys(runs)]
    else:
        states = [RunState.FINISHED]
        states += [RunState.UNFINISHED, RunState.DAMAGED] if unfinished else []
        everything = [read_run(folder) for folder in run_folders()]
        chosen = [run for run in everything if run.state in states and _is_old(run, older_than)]
    to = console.results(json)
    for run in chosen:
        if not dry_run:
            remove_run(run.folder)
        to.print(f"{'would remove' if dry_run else 'removed'} {run.name}", soft_wrap=True)
    if not chosen:
        to.print("nothing to remove")
    console.write_json(json, {"removed": [run.name for run in chosen], "dry_run": dry_run})


def _is_old(run: RunSummary, days: float | None) -> bool:
    if days is None:
        return True
    if run.begins is None:
        modified = datetime.fromtimestamp(run.folder.stat().st_mtime, UTC)
    else:
        modified = datetime.fromisoformat(run.begins.created)
    return datetime.now(UTC) - modified > timedelta(days=days)
