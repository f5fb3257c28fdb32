"""Results of entries, one line of JSON each, written as they come: a run can go on from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from agentrt import Program
from agentrt.errors import SettingError
from agentrt.program import sum_known

FILE = "results.jsonl"
_FORMAT = "agentrt.bench.v1"


def file_name(policy: str) -> str:
    """Of what belongs to a policy, whose name may be that of a file or have parameters."""
    return re.sub(r"[^\w.=-]+", "_", policy).strip("._") or "policy"


class EntryResult(msgspec.Struct, kw_only=True, frozen=True):
    """What came of one entry under one policy.

    Attributes:
        policy: of the engine; None where it has none that is known.
        valid: what the benchmark's own checker says; None where there is nothing to check.
        problem: kind of what was wrong; empty if valid.
        message: more of it.
        seconds: of the program, from its start to its end (job completion time).
        tool_s: in tools, added pauses included.
        injected_s: of them the pauses that were added.
        ttft_s: mean over its turns; None where replies are not streamed.
        cached_tokens: None where the engine does not say.
        calls: of each turn of the user, as source.
        answers: text that ended each turn of the user.
    """

    entry: str
    category: str
    policy: str | None
    valid: bool | None
    problem: str = ""
    message: str = ""
    program_id: str = ""
    seconds: float = 0.0
    model_s: float = 0.0
    tool_s: float = 0.0
    injected_s: float = 0.0
    ttft_s: float | None = None
    turns: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    cached_tokens: int | None = None
    output_tokens: int = 0
    calls: tuple[tuple[str, ...], ...] = ()
    answers: tuple[str, ...] = ()


def entry_result(
    entry: str,
    category: str,
    policy: str | None,
    programs: Sequence[Program],
    *,
    valid: bool | None,
    problem: str = "",
    message: str = "",
    injected_s: float = 0.0,
    ttft_s: float | None = None,
    calls: Iterable[Iterable[str]] = (),
    answers: Iterable[str] = (),
) -> EntryResult:
    """The result of an entry, with the times and tokens of the programs that it was."""
    turns = [turn for program in programs for turn in program.turns]
    return EntryResult(
        entry=entry,
        category=category,
        policy=policy,
        valid=valid,
        problem=problem,
        message=message,
        program_id=programs[0].program_id if programs else "",
        seconds=sum((each.ended or 0.0) - (each.started or 0.0) for each in programs),
        model_s=sum(turn.model_s for turn in turns),
        tool_s=sum(each.tool_s for each in programs),
        injected_s=injected_s,
        ttft_s=ttft_s,
        turns=len(turns),
        tool_calls=sum(len(each.tool_calls) for each in programs),
        input_tokens=sum(turn.input_tokens for turn in turns),
        cached_tokens=sum_known(turn.cached_tokens for turn in turns),
        output_tokens=sum(turn.output_tokens for turn in turns),
        calls=tuple(map(tuple, calls)),
        answers=tuple(answers),
    )


class _Header(msgspec.Struct, kw_only=True):
    format: str
    settings: dict[str, Any]


class ResultFile:
    """The file of a run; a context manager. Every line is flushed.

    Attributes:
        results: all that are in it.

    Args:
        path: begun anew, or gone on with if it is there.
        settings: of the run. Results under other settings are none of this run.

    Raises:
        SettingError: the file cannot be read or written, or belongs to another run.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.results: list[EntryResult] = []
        self._file: IO[bytes]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                whole = self._read(path, settings)
                self._file = path.open("r+b")
                self._file.truncate(whole)  # a line that was cut off
                self._file.seek(whole)
            else:
                self._file = path.open("wb")
                self._write(_Header(format=_FORMAT, settings=settings))
        except OSError as error:
            raise SettingError(f"cannot use {path}: {error.strerror}") from error

    def done(self) -> set[tuple[str, str | None]]:
        """Entry and policy of all results."""
        return {(result.entry, result.policy) for result in self.results}

    def add(self, result: EntryResult) -> None:
        """Append a result."""
        self.results.append(result)
        self._write(result)

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def _write(self, line: msgspec.Struct) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()

    def _read(self, path: Path, settings: dict[str, Any]) -> int:
        """Take the results over; how many bytes are whole lines."""
        content = path.read_bytes()
        whole = content.rpartition(b"\n")[0]
        lines = whole.splitlines()
        try:
            header = msgspec.json.decode(lines[0] if lines else content, type=_Header)
            self.results += [msgspec.json.decode(line, type=EntryResult) for line in lines[1:]]
        except msgspec.MsgspecError as error:
            raise SettingError(
                f"{path} holds no results of a benchmark: {error}", hint="give another --out"
            ) from error
        if differing := list(_differences(header.settings, settings)):
            raise SettingError(
                f"{path} is of a run with other settings: {', '.join(differing)}",
                hint="give another --out, or the same settings",
            )
        return len(whole) + 1


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            yield f"{name} is {there.get(name)!r} there, {here.get(name)!r} here"
