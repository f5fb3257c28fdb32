"""Commands in processes of their own, and what of them is left afterwards.

A process belongs to a folder when it works in it or below. Children inherit that whatever
session, process group or environment they get, so a test that starts everything in a folder
of its own finds every orphan, and nobody else's processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

AGENTRT = str(Path(sys.executable).with_name("agentrt"))

#: Long enough for the start of an engine on a busy machine, seconds.
PATIENCE_S = 120.0

_POLL_S = 0.05


def living(folder: Path) -> dict[int, str]:
    """The processes of a folder but for this one: process id → command. Zombies do not count."""
    root = str(folder.resolve())
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            cwd = str((process / "cwd").readlink()).removesuffix(" (deleted)")
            inside = cwd == root or cwd.startswith(root + os.sep)
            if inside and int(process.name) != os.getpid() and _state(process) not in "ZX":
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(process.name)] = command.decode(errors="replace").strip()
    return found


def left_after(seconds: float, folder: Path) -> dict[int, str]:
    """What is still alive in the folder when none is left or the time is over."""
    deadline = time.monotonic() + seconds
    while (left := living(folder)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait for a condition; fail the test when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s"
        time.sleep(_POLL_S)


def engine_log(folder: Path) -> str:
    """The ends of the engines' logs in a folder."""
    ends = [path.read_text().splitlines()[-20:] for path in folder.glob("cache/logs/*")]
    return "\n".join(line[:200] for end in ends for line in end)


@dataclass(frozen=True)
class Done:
    """A command that ended; `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str


class Command:
    """A command in a folder, with caches and temporary files below it; a context manager.

    Leaving the block kills whatever the folder's processes still are.

    Args:
        arguments: those of `agentrt`, or an absolute path of another program and its arguments.
        folder: where it runs; made when absent.
        variables: on top of `environment(folder)`.
    """

    def __init__(self, *arguments: str | Path, folder: Path, **variables: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._out, self._err = (folder / f"{time.monotonic_ns()}.{end}" for end in ("out", "err"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [AGENTRT, *map(str, arguments)] if _is_ours(arguments) else arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment(folder) | variables,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def out(self) -> str:
        """What it has printed on stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has printed on stderr so far."""
        return self._err.read_text()

    def until(self, text: str, seconds: float = PATIENCE_S) -> None:
        """Wait until it has printed the text; fail the test when it ends or time is over."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self._process.poll() is not None
            if text in self.out + self.err:
                return
            if ended or time.monotonic() > deadline:
                state = f"ended with {self._process.returncode}" if ended else "runs on"
                said = self.out + self.err + engine_log(self._folder)
                raise AssertionError(f"{state} without {text!r}:\n{said}")
            time.sleep(_POLL_S)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command itself, not to its children."""
        self._process.send_signal(number)

    def done(self, seconds: float = PATIENCE_S) -> Done:
        """Wait for its end."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"did not end within {seconds:g} s:\n{self.out}{self.err}"
            ) from None
        return Done(self._process.returncode, self.out, self.err)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pid in living(self._folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def finished(*arguments: str | Path, folder: Path, **variables: str) -> Done:
    """Run a command to its end."""
    with Command(*arguments, folder=folder, **variables) as command:
        return command.done()


def environment(folder: Path) -> dict[str, str]:
    """Variables that keep a command's files in the folder and settings from outside away."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AGENTRT_")}
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return inherited | {
        "AGENTRT_CACHE_DIR": str(folder / "cache"),
        "AGENTRT_STATE_DIR": str(folder / "state"),
        "TMPDIR": str(temporary),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


def _is_ours(arguments: Sequence[str | Path]) -> bool:
    return not Path(arguments[0]).is_absolute()


def _state(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[0]
