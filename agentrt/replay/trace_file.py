"""Opening traces of any known format, merging them, and writing agentrt.trace.v1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.atomic_file import atomic_file
from agentrt.replay.formats.catalog import FORMATS, TraceFormat
from agentrt.replay.formats.detect import detect_format
from agentrt.replay.formats.source import TraceSource
from agentrt.replay.formats.validation import check_program, check_programs, raise_zero_outputs
from agentrt_engine.wire.trace import ProgramRecord, TraceHeader, TurnRecord


@dataclass(frozen=True, slots=True)
class Trace:
    """Programs read from a file.

    Attributes:
        path: the file; of merged traces the first one.
        format: the file's format; of merged traces that of the first one.
        metadata: free entries, as the file has them.
        notes: what was assumed, left out or changed while reading, in sentences for people.
    """

    path: Path
    format: TraceFormat
    metadata: dict[str, Any]
    programs: list[ProgramRecord]
    notes: list[str]


def load_trace(path: Path, *, format: TraceFormat | None = None) -> Trace:
    """Read a trace, compressed with gzip or not.

    Args:
        format: None: recognised by the content.

    Raises:
        TraceError: the file is missing, damaged, of no known format, or has an unusable value.
    """
    source = TraceSource(path)
    chosen = detect_format(source) if format is None else format
    contents = FORMATS[chosen].reader(source)
    if not contents.programs:
        raise TraceError(f"{path} holds no program", hint="give a file that holds at least one")
    # Our own format is checked line by line, by its reader.
    if chosen is not TraceFormat.AGENTRT:
        for program in contents.programs:
            check_program(program, f"{path}, program {program.program_id}")
    check_programs(contents.programs, str(path))
    raise_zero_outputs(contents.programs, contents.notes)
    return Trace(path, chosen, contents.metadata, contents.programs, contents.notes)


def load_traces(paths: Sequence[Path], *, format: TraceFormat | None = None) -> Trace:
    """Read several traces as one.

    A program id, or prefix id, that occurs in two files gets the file's stem as a prefix in both;
    hash ids of different files are different.

    Args:
        paths: at least one.
        format: that of all files; None: recognised by the content.

    Raises:
        TraceError: as `load_trace`.
    """
    traces = [load_trace(path, format=format) for path in paths]
    if len(traces) == 1:
        return traces[0]
    programs = _merge([(trace.path, trace.programs) for trace in traces])
    check_programs(programs, " + ".join(str(path) for path in paths))
    return Trace(
        path=traces[0].path,
        format=traces[0].format,
        metadata={"sources": [path.name for path in paths]},
        programs=programs,
        notes=[f"{trace.path.name}: {note}" for trace in traces for note in trace.notes],
    )


def write_trace(path: Path, trace: Trace) -> None:
    """Write agentrt.trace.v1, compressed if the name ends in `.gz`; a file there is replaced.

    The file appears whole or not at all.

    Raises:
        SettingError: the file cannot be written.
    """
    metadata = {key: value for key, value in trace.metadata.items() if key != "format"}
    with atomic_file(path, what="trace") as file:
        file.write(TraceHeader(metadata).encode() + b"\n")
        for program in trace.programs:
            file.write(program.encode() + b"\n")


def _merge(files: Sequence[tuple[Path, list[ProgramRecord]]]) -> list[ProgramRecord]:
    ids = Counter(program.program_id for _, programs in files for program in programs)
    prefixes = Counter(
        prefix for _, programs in files for prefix in {p.prefix_id for p in programs if p.prefix_id}
    )
    merged: list[ProgramRecord] = []
    first_block = 0
    for label, (_, programs) in zip(_labels(files), files, strict=True):
        here = {program.program_id for program in programs}
        names = {name: f"{label}:{name}" for name in here if ids[name] > 1}
        used = 0
        for program in programs:
            largest = max((max(t.hash_ids) for t in program.turns if t.hash_ids), default=-1)
            used = max(used, largest + 1)
            prefix = program.prefix_id
            if prefix is not None and prefixes[prefix] > 1:
                prefix = f"{label}:{prefix}"
            merged.append(_renamed(program, names, prefix, first_block))
        first_block += used
    return merged


def _labels(files: Sequence[tuple[Path, list[ProgramRecord]]]) -> list[str]:
    stems = [path.name.partition(".")[0] for path, _ in files]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{stems[: index + 1].count(stem)}"
        for index, stem in enumerate(stems)
    ]


def _renamed(
    program: ProgramRecord, names: dict[str, str], prefix: str | None, first_block: int
) -> ProgramRecord:
    parent = program.parent_id
    return msgspec.structs.replace(
        program,
        program_id=names.get(program.program_id, program.program_id),
        parent_id=None if parent is None else names.get(parent, parent),
        prefix_id=prefix,
        turns=tuple(_renamed_turn(turn, names, first_block) for turn in program.turns),
    )


def _renamed_turn(turn: TurnRecord, names: dict[str, str], first_block: int) -> TurnRecord:
    shifted = bool(first_block and turn.hash_ids)
    if not shifted and not turn.waits_for:
        return turn
    return msgspec.structs.replace(
        turn,
        waits_for=tuple(names.get(name, name) for name in turn.waits_for),
        hash_ids=tuple(block + first_block for block in turn.hash_ids),
    )
