"""What a command of an agent may use, and what it does use, with all that it started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes of one command may use together; None for no limit.

    They are looked at 20 times a second, so that for a moment a command may have more; one that
    doubles its processes without end may hold a busy machine for seconds. They need no rights and
    no cgroups.

    Attributes:
        cpu_s: processor seconds.
        memory_mb: resident memory, MiB; what processes share counts for each.
        processes: at once, the sandbox's own included.
    """

    cpu_s: float | None = 60.0
    memory_mb: int | None = 2_048
    processes: int | None = 256

    def __post_init__(self) -> None:
        for name in ("cpu_s", "memory_mb", "processes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value!r}: expected a number above 0, or None")

    def exceeded(self, usage: Usage) -> str:
        """What was used too much of, for the model to read; empty if nothing was."""
        if self.cpu_s is not None and usage.cpu_s > self.cpu_s:
            return f"it used more than {self.cpu_s:g} s of CPU"
        if self.memory_mb is not None and usage.memory_bytes > self.memory_mb * MIB:
            return f"it used more than {self.memory_mb:,} MiB of memory"
        if self.processes is not None and usage.processes > self.processes:
            return f"it ran more than {self.processes:,} processes at once"
        return ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all its descendants use.

    Attributes:
        cpu_s: processor seconds, those of descendants that have ended included.
        memory_bytes: resident.
        processes: that live.
    """

    cpu_s: float
    memory_bytes: int
    processes: int


def usage_of(pid: int, most: int | None = None) -> Usage:
    """What the tree of processes below a process, and it itself, use now.

    Args:
        most: processes that are counted; who starts ever more is found out soon. Those that end
            while they are looked at are none of them, or a crowd that comes and goes would hide.
    """
    cpu_ticks = pages = processes = 0
    for member in _tree(pid):
        if processes == most:
            break
        with suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold anything.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            # utime, stime, cutime, cstime; resident pages: fields 14 to 17 and 24 of proc(5).
            cpu_ticks += sum(int(field) for field in fields[11:15])
            pages += int(fields[21])
            processes += 1
    tick_s, page_bytes = _units()
    return Usage(cpu_ticks * tick_s, pages * page_bytes, processes)


def _tree(pid: int) -> Iterator[int]:
    left = [pid]
    while left:
        member = left.pop()
        yield member
        with suppress(OSError):
            for thread in Path(f"/proc/{member}/task").iterdir():
                left += map(int, (thread / "children").read_text().split())


@cache
def _units() -> tuple[float, int]:
    return 1.0 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
