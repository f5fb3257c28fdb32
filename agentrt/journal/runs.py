"""The runs of `agentrt run`: one folder each, and what their journals say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from pathlib import Path

import platformdirs

from agentrt.errors import JournalDamaged, JournalError
from agentrt.journal.events import (
    Event,
    ProgramBegan,
    ProgramEnded,
    RunBegan,
    ToolEnded,
    TurnEnded,
)
from agentrt.journal.journal import is_used
from agentrt.journal.store import FILE_NAME, Store
from agentrt.program import ProgramState

STATE_DIR_VARIABLE = "AGENTRT_STATE_DIR"

#: Runs whose journals stay, finished or not, when another one begins.
KEPT_RUNS = 100

#: Name of the run that began last.
LAST = "last"


class RunState(StrEnum):
    """What can be done with a run."""

    RUNNING = "running"
    #: All its programs finished: there is nothing to resume.
    FINISHED = "finished"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"


@dataclass(slots=True)
class ProgramSummary:
    """One program of a run.

    Attributes:
        state: how it ended; None if it did not.
        output: what its agent returned, as JSON.
    """

    program: str
    agent: str
    parent: str | None
    state: ProgramState | None = None
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    elapsed_s: float = 0.0
    error: str = ""
    output: str | None = None


@dataclass(slots=True)
class RunSummary:
    """What a journal says of its run.

    Attributes:
        problem: why the journal cannot be used, if that is so.
    """

    name: str
    folder: Path
    state: RunState
    begins: RunBegan | None = None
    programs: list[ProgramSummary] = field(default_factory=list)
    problem: str = ""


def runs_dir() -> Path:
    """Where runs are kept; `AGENTRT_STATE_DIR` names another folder. May not exist."""
    if override := os.environ.get(STATE_DIR_VARIABLE):
        return Path(override).expanduser().resolve() / "runs"
    return platformdirs.user_state_path("agentrt") / "runs"


def run_name(agent: str, at: datetime) -> str:
    """Name of a run that begins; to the millisecond, so that names in order are runs in order."""
    return f"{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03}-{agent}"


def new_run(agent: str, at: datetime) -> Path:
    """A folder for a run that begins.

    Raises:
        JournalError: it cannot be made.
    """
    name = run_name(agent, at)
    for number in count(1):
        folder = runs_dir() / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise JournalError(
                f"cannot keep runs in {runs_dir()}: {error.strerror}",
                hint=f"set {STATE_DIR_VARIABLE} to another folder, or run with --no-journal",
            ) from error
        return folder
    raise AssertionError("unreachable")


def run_folders() -> list[Path]:
    """All runs, the one that began last first."""
    if not runs_dir().is_dir():
        return []
    return sorted((path.parent for path in runs_dir().glob(f"*/{FILE_NAME}")), reverse=True)


def find_run(name: str) -> Path:
    """The run of that name, or the only one whose name begins so; `LAST` is the last one.

    Raises:
        JournalError: there is none, or several.
    """
    folders = run_folders()
    if name == LAST and folders:
        return folders[0]
    found = [folder for folder in folders if folder.name.startswith(name)]
    exact = [folder for folder in found if folder.name == name]
    match exact or found:
        case [only]:
            return only
        case []:
            raise JournalError(
                f"no run {name!r} in {runs_dir()}", hint="agentrt runs list names those there are"
            )
        case several:
            names = ", ".join(folder.name for folder in several[:5])
            raise JournalError(f"several runs begin with {name!r}: {names}", hint="give the whole")


def read_events(folder: Path) -> tuple[Event, ...]:
    """Everything in the journal of a run, which may be running.

    Raises:
        JournalDamaged: it was changed, or events are missing.
        JournalError: there is none.
    """
    with closing(Store(folder, reads_only=True)) as store:
        return store.events


def read_run(folder: Path) -> RunSummary:
    """What came of a run so far."""
    running = is_used(folder)
    try:
        events = read_events(folder)
    except JournalDamaged as error:
        return RunSummary(folder.name, folder, RunState.DAMAGED, problem=str(error))
    begins = next((event for event in events if isinstance(event, RunBegan)), None)
    programs = list(_programs(events))
    roots = [program for program in programs if program.parent is None]
    wanted = max(1, len(begins.inputs) if begins else 1)
    finished = len(roots) >= wanted and all(
        program.state is ProgramState.FINISHED for program in roots
    )
    state = RunState.FINISHED if finished else RunState.UNFINISHED
    return RunSummary(folder.name, folder, RunState.RUNNING if running else state, begins, programs)


def remove_run(folder: Path) -> None:
    """Remove a run and its workspaces.

    Raises:
        JournalError: it is running, or cannot be removed.
    """
    if is_used(folder):
        raise JournalError(f"the run {folder.name} is running", hint="stop it first")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise JournalError(f"cannot remove {folder}: {error.strerror}") from error


def forget_old_runs() -> None:
    """Remove finished runs but for the latest, so that runs do not fill the disk."""
    for folder in run_folders()[KEPT_RUNS:]:
        with suppress(JournalError):  # another process removes it, too
            if read_run(folder).state is RunState.FINISHED:
                remove_run(folder)


def _programs(events: tuple[Event, ...]) -> Iterator[ProgramSummary]:
    found: dict[str, ProgramSummary] = {}
    for event in events:
        match event:
            case ProgramBegan(program, agent, _, parent):
                found[program] = ProgramSummary(program, agent, parent)
            case TurnEnded():
                summary = found[event.program]
                summary.turns += 1
                summary.input_tokens += event.input_tokens
                summary.output_tokens += event.output_tokens
                summary.state = None
            case ToolEnded():
                found[event.program].tool_calls += 1
            case ProgramEnded():
                summary = found[event.program]
                summary.state, summary.error = event.state, event.error
                summary.output = event.output
        if isinstance(event, TurnEnded | ToolEnded | ProgramEnded):
            summary = found[event.program]
            summary.elapsed_s = max(summary.elapsed_s, event.ended_s)
    yield from found.values()
