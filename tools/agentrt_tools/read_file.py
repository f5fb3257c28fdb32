"""The tool `read_file`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentrt import Context, tool
from agentrt_tools.confine import inside

MAX_LINES = 200
MAX_BYTES = 8 * 2**20
_SHOWN_CHARACTERS = 3_800


@tool(timeout=10)
def read_file(
    ctx: Context,
    path: str,
    first_line: Annotated[int, Field(ge=1, le=1_000_000)] = 1,
    lines: Annotated[int, Field(ge=1, le=MAX_LINES)] = MAX_LINES,
) -> str:
    """Read a text file.

    Args:
        path: file to read, relative to the working directory.
        first_line: number of the first line to read, from 1.
        lines: number of lines to read.
    """
    everything = read_text(inside(ctx.workspace, path), path).splitlines()
    selected = everything[first_line - 1 : first_line - 1 + lines]
    if everything and not selected:
        raise ValueError(f"{path!r} has {len(everything)} lines, none from {first_line} on")
    shown = _fitting(selected)
    if len(shown) == len(everything):
        return "\n".join(shown)
    last_line = first_line + len(shown) - 1
    note = f"[lines {first_line} to {last_line} of {len(everything)}]"
    return "\n".join([*shown, note])


def read_text(target: Path, path: str) -> str:
    """All of a text file.

    Args:
        path: what the model calls it.

    Raises:
        OSError, ValueError: it is none, or too large.
    """
    if not target.is_file():
        raise IsADirectoryError(f"{path!r} is not a file; list it with ls")
    if (size := target.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path!r} has {size:,} bytes, at most {MAX_BYTES:,} are read; use grep")
    content = target.read_bytes()
    if b"\0" in content:
        raise ValueError(f"{path!r} is not a text file")
    return content.decode(errors="replace")


def _fitting(lines: list[str]) -> list[str]:
    """The first lines that fit into one result; always one, cut if it is too long."""
    fitting: list[str] = []
    room = _SHOWN_CHARACTERS
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            return fitting or [line[:_SHOWN_CHARACTERS] + "…"]
        fitting.append(line)
    return fitting
