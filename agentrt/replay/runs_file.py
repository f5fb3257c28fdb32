"""Lists of programs and arrivals from a file, so that others can repeat the same runs.

Either cells, each with its size of memory and its load, or one list of runs by itself:

    {"settings": {…}, "cells": [{"workload", "kv_tokens", "rate", "concurrency", "runs": […]}]}
    {"kv_tokens"?, "concurrency"?, "runs": [{"seed", "programs": [id, …], "arrival_s"?: […]}]}
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agentrt.errors import ReplayError
from agentrt.replay.program_list import ProgramList


class ListedRun(msgspec.Struct, frozen=True):
    """One run: programs by id, in order; seconds of arrival, or None in a closed loop."""

    seed: int
    programs: tuple[str, ...]
    arrival_s: tuple[float, ...] | None = None


class Cell(msgspec.Struct, frozen=True):
    """Runs of one workload at one load.

    Attributes:
        workload: stem of the trace's name.
        rate: programs per second that the arrivals were drawn with.
        concurrency: programs always active; None where the runs have arrivals.
    """

    runs: tuple[ListedRun, ...]
    workload: str | None = None
    kv_tokens: int | None = None
    rate: float | None = None
    concurrency: int | None = None

    def described(self) -> str:
        """What it is, for messages."""
        load = f"{self.concurrency} active" if self.concurrency else "with arrivals"
        if self.rate is not None:
            load = f"{self.rate:g}/s"
        memory = "any size" if self.kv_tokens is None else f"{self.kv_tokens:,} KV tokens"
        return f"{self.workload or 'any workload'}, {memory}, {load}"


class ListedSettings(msgspec.Struct, frozen=True):
    """Settings that all runs of a file were made for; None where the file does not say."""

    profile: str | None = None
    chunk: int | None = None
    max_running: int | None = None
    page: int | None = None
    pause_cap_s: float | None = None


class _File(Cell, frozen=True):
    """Either form: with `cells`, or a cell by itself."""

    runs: tuple[ListedRun, ...] = ()
    cells: tuple[Cell, ...] = ()
    settings: ListedSettings = ListedSettings()


@dataclass(frozen=True, slots=True)
class RunsFile:
    """A file of lists.

    Attributes:
        places: of each cell, for messages.
    """

    path: Path
    settings: ListedSettings
    cells: tuple[Cell, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChosenCell:
    """The cell of a file that a replay runs; `place` names it in messages."""

    index: int
    cell: Cell
    place: str
    settings: ListedSettings


def load_runs(path: Path) -> RunsFile:
    """Read a file of lists, compressed with gzip or not.

    Raises:
        ReplayError: it is missing, damaged or not of this form.
    """
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        found = msgspec.json.decode(data, type=_File)
    except OSError as error:
        reason = error.strerror or error
        raise ReplayError(f"--runs {path}: {reason}", hint="give a file of lists") from error
    except (EOFError, zlib.error) as error:
        raise ReplayError(f"--runs {path}: damaged gzip data: {error}") from error
    except msgspec.DecodeError as error:
        raise ReplayError(
            f"--runs {path}: {error}",
            hint='expected {"runs": [{"seed", "programs", "arrival_s"}]}, or such objects in '
            '"cells"',
        ) from error
    if found.cells:
        cells = found.cells
        places = tuple(f"cells[{index}]." for index in range(len(cells)))
    else:
        cells, places = (found,), ("",)
    for cell, place in zip(cells, places, strict=True):
        _check(cell, f"{path}: {place}")
    return RunsFile(path, found.settings, cells, places)


def choose_cell(
    file: RunsFile, *, index: int | None, workload: str, kv_tokens: int | None
) -> ChosenCell:
    """The cell of this number, or the only one for this workload and memory.

    Args:
        index: from 0; None to match.
        workload: stem of the trace's name.
        kv_tokens: None: any.

    Raises:
        ReplayError: there is no such cell, or several match.
    """
    if index is None:
        index = _matching(file, workload, kv_tokens)
    if not 0 <= index < len(file.cells):
        raise ReplayError(
            f"--cell {index}: {file.path} has the cells 0 to {len(file.cells) - 1}",
            hint=_listed(file, range(len(file.cells))),
        )
    return ChosenCell(index, file.cells[index], f"{file.path}: {file.places[index]}", file.settings)


def listed_programs(
    chosen: ChosenCell,
    *,
    seeds: Sequence[int] | None,
    plans: Mapping[str, int],
    left_out: Sequence[str],
) -> list[ProgramList]:
    """The lists of a cell with programs by index.

    Args:
        seeds: only these; None for all.
        plans: index of each program of the workload by id.
        left_out: ids of programs that are skipped, with their arrivals.

    Raises:
        ReplayError: a program is not in the workload, or a seed not in the file.
    """
    runs = chosen.cell.runs
    known = [run.seed for run in runs]
    for seed in seeds or ():
        if seed not in known:
            raise ReplayError(
                f"--seed {seed}: {chosen.place}runs has the seeds {', '.join(map(str, known))}"
            )
    lists = []
    for number, run in enumerate(runs):
        if seeds and run.seed not in seeds:
            continue
        kept: list[int] = []
        for at, program in enumerate(run.programs):
            if program in plans:
                kept.append(at)
            elif program not in left_out:
                raise ReplayError(
                    f"{chosen.place}runs[{number}].programs[{at}]: {program!r} is no program of "
                    "the trace, or one that a parent waits for",
                    hint="give the trace that the file was made for",
                )
        times = run.arrival_s
        lists.append(
            ProgramList(
                run.seed,
                tuple(plans[run.programs[at]] for at in kept),
                None if times is None else tuple(times[at] for at in kept),
            )
        )
    return lists


def _matching(file: RunsFile, workload: str, kv_tokens: int | None) -> int:
    found = [
        index
        for index, cell in enumerate(file.cells)
        if cell.workload in (None, workload)
        and (kv_tokens is None or cell.kv_tokens in (None, kv_tokens))
    ]
    if len(found) == 1:
        return found[0]
    wanted = workload if kv_tokens is None else f"{workload} with {kv_tokens:,} KV tokens"
    if not found:
        raise ReplayError(
            f"--runs {file.path}: no cell is for {wanted}",
            hint="choose one with --cell: " + _listed(file, range(len(file.cells))),
        )
    raise ReplayError(
        f"--runs {file.path}: {len(found)} cells are for {wanted}",
        hint="choose one with --cell: " + _listed(file, found),
    )


def _listed(file: RunsFile, indices: Sequence[int]) -> str:
    return "; ".join(f"{index}: {file.cells[index].described()}" for index in indices)


def _check(cell: Cell, place: str) -> None:
    if not cell.runs:
        raise ReplayError(f"{place}runs: expected at least one run")
    if cell.kv_tokens is not None and cell.kv_tokens < 1:
        raise ReplayError(f"{place}kv_tokens = {cell.kv_tokens}: expected at least 1")
    if cell.concurrency is not None and cell.concurrency < 1:
        raise ReplayError(f"{place}concurrency = {cell.concurrency}: expected at least 1")
    seen: set[int] = set()
    for number, run in enumerate(cell.runs):
        where = f"{place}runs[{number}]"
        if run.seed in seen:
            raise ReplayError(f"{where}.seed: {run.seed} is there twice")
        seen.add(run.seed)
        if not run.programs:
            raise ReplayError(f"{where}.programs: expected at least one program")
        if (run.arrival_s is None) == (cell.concurrency is None):
            raise ReplayError(
                f"{where}: expected either arrival_s for each program or a concurrency beside runs"
            )
        if run.arrival_s is not None:
            _check_arrivals(run.arrival_s, len(run.programs), f"{where}.arrival_s")


def _check_arrivals(arrival_s: tuple[float, ...], programs: int, place: str) -> None:
    if len(arrival_s) != programs:
        raise ReplayError(
            f"{place}: {len(arrival_s)} times for {programs} programs: expected one for each"
        )
    before = 0.0
    for at, time in enumerate(arrival_s):
        if not time >= before:
            raise ReplayError(
                f"{place}[{at}] = {time}: expected a time that is not negative nor before the "
                "one it follows"
            )
        before = time
