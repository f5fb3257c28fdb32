"""Run a child process to its end: its output in a log file, its lines as progress."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

#: Seconds that an interrupted child has to clean up before it is killed.
INTERRUPT_GRACE_S = 10.0

TAIL_LINES = 5


class ChildFailed(Exception):
    """A child ended with a status other than 0; the text is the end of its output."""

    def __init__(self, status: int, tail: Sequence[str], log: Path) -> None:
        self.status = status
        self.log = log
        died = f"killed by signal {-status}" if status < 0 else f"exit code {status}"
        lines = "".join(f"\n  {line}" for line in tail)
        super().__init__(f"{died}{lines}\n  (all of it: {log})")


def run_logged(
    command: Sequence[str], *, log: Path, on_line: Callable[[str], None] = lambda line: None
) -> None:
    """Run `command`, append what it prints to `log` and hand each line to `on_line`.

    The child has its own process group: an exception here (Ctrl-C is one) interrupts the
    whole group and waits for its end, so nothing is left running.

    Raises:
        ChildFailed: it did not exit with 0.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with (
        log.open("a", encoding="utf-8") as log_file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        ) as child,
    ):
        assert child.stdout is not None
        log_file.write(f"$ {' '.join(command)}\n")
        try:
            for raw in child.stdout:
                log_file.write(raw)
                if line := raw.strip():
                    tail.append(line)
                    on_line(line)
            status = child.wait()
        except BaseException:
            _end_group(child)
            raise
    if status != 0:
        raise ChildFailed(status, tail, log)


def _end_group(child: subprocess.Popen[str]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(INTERRUPT_GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
