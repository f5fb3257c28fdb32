"""The tool `edit_file`."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Annotated

from pydantic import Field

from agentrt import Context, tool
from agentrt_tools.confine import inside
from agentrt_tools.read_file import read_text
from agentrt_tools.replacing import replace_file

MAX_CHARACTERS = 20_000

#: Lines that are shown of where a text almost stands, and how alike they have to be.
_NEAR_LINES = 3
_ALIKE = 0.6
_SEARCHED_LINES = 5_000


@tool(timeout=10, effect="write")
def edit_file(
    ctx: Context,
    path: str,
    old: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)],
    new: Annotated[str, Field(max_length=MAX_CHARACTERS)],
) -> str:
    """Replace a passage of a text file that stands in it exactly once.

    Args:
        path: file to change, relative to the working directory.
        old: the passage as it stands in the file, with every space and line break, and with as
            many lines around it as make it unique.
        new: what is to stand there instead.
    """
    target = inside(ctx.workspace, path)
    text = read_text(target, path)
    found = text.count(old)
    if found == 0:
        raise ValueError(f"the passage is not in {path!r}{_nearest(text, old)}")
    if found > 1:
        lines = ", ".join(str(line) for line in _lines_of(text, old)[:10])
        raise ValueError(
            f"the passage is in {path!r} {found} times, at the lines {lines}: give more around it"
        )
    at = text.index(old)
    replace_file(target, text[:at] + new + text[at + len(old) :])
    first = text.count("\n", 0, at) + 1
    return f"changed {path} at line {first}"


def _lines_of(text: str, passage: str) -> list[int]:
    lines = []
    at = text.find(passage)
    while at >= 0:
        lines.append(text.count("\n", 0, at) + 1)
        at = text.find(passage, at + 1)
    return lines


def _nearest(text: str, passage: str) -> str:
    """What is most like the first line of the passage, to be copied from."""
    wanted = next((line for line in passage.splitlines() if line.strip()), "").strip()
    lines = text.splitlines()
    best, best_at = _ALIKE, -1
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    for at, line in enumerate(lines[:_SEARCHED_LINES]):
        matcher.set_seq1(line.strip())
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            ratio = matcher.ratio()
            if ratio > best:
                best, best_at = ratio, at
    if best_at < 0:
        return ""
    shown = "\n".join(lines[best_at : best_at + _NEAR_LINES])
    return f"; the nearest is line {best_at + 1}:\n{shown}"
