"""What commands print: results on stdout, everything else on stderr, `--json` for programs.

Colour and spinners follow the terminal: rich drops them for pipes and `NO_COLOR`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.console import Console
from rich.status import Status
from rich.text import Text

from agentrt.errors import SettingError
from agentrt.replay.atomic_file import whole_file

#: Columns of a table on any console, and of a console that is no terminal.
MAX_WIDTH = 100

STDOUT = "-"


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = MAX_WIDTH
    return console


out = _console(stderr=False)
err = _console(stderr=True)
#: Like `err`; silent under `--quiet`.
progress = _console(stderr=True)


def print_error(message: str, *, hint: str = "") -> None:
    """An error and the command or change that mends it, on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        err.print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def results(json_target: str | None) -> Console:
    """Where a command prints its tables: stdout, unless JSON has it for itself."""
    return err if json_target == STDOUT else out


def write_json(target: str | None, document: Any) -> None:
    """Write a result for `--json TARGET`; a file is written whole or not at all.

    Args:
        target: value of the option: a file, `-` for stdout, None for nowhere.
        document: what msgspec can encode.

    Raises:
        SettingError: the file cannot be written.
    """
    if target is None:
        return
    text = msgspec.json.format(msgspec.json.encode(document)) + b"\n"
    if target == STDOUT:
        sys.stdout.write(text.decode())
        return
    try:
        with whole_file(Path(target)) as file:
            file.write(text)
    except OSError as error:
        raise SettingError(f"--json {target}: {error.strerror}") from error


class Stages:
    """Progress of a command that works in a few long stages.

    A terminal shows a spinner and what happens now, and keeps one line with the time of each
    finished stage; elsewhere each stage is one line at its start.
    """

    def __init__(self) -> None:
        self._spinner = Status("", console=progress) if progress.is_terminal else None
        self._stage: str | None = None
        self._started_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish(failed=error is not None)
        if self._spinner is not None:
            self._spinner.stop()

    def stage(self, text: str) -> None:
        """The next stage begins; the one before is done."""
        self._finish(failed=False)
        self._stage, self._started_s = text, time.monotonic()
        if self._spinner is None:
            progress.print(Text(text), soft_wrap=True)
        else:
            self._spinner.update(Text(text))
            self._spinner.start()

    def detail(self, line: str) -> None:
        """What happens within the stage right now; shown on terminals only."""
        if self._spinner is not None and self._stage is not None:
            shown = Text.assemble(self._stage, (f"  {line}", "dim"), overflow="ellipsis")
            shown.truncate(progress.width - 4)
            self._spinner.update(shown)

    def _finish(self, *, failed: bool) -> None:
        if self._stage is not None and self._spinner is not None:
            mark = ("✗ ", "red") if failed else ("✓ ", "green")
            seconds = f"  {time.monotonic() - self._started_s:.0f} s"
            progress.print(Text.assemble(mark, self._stage, (seconds, "dim")), soft_wrap=True)
        self._stage = None
