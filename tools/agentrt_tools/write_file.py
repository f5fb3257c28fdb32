"""The tool `write_file`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentrt import Context, tool
from agentrt_tools.confine import inside
from agentrt_tools.replacing import replace_file

MAX_CHARACTERS = 100_000


@tool(timeout=10, effect="write")
def write_file(
    ctx: Context, path: str, content: Annotated[str, Field(max_length=MAX_CHARACTERS)]
) -> str:
    """Write a text file; folders are made, and what the file held is gone.

    Args:
        path: file to write, relative to the working directory.
        content: all that it is to hold.
    """
    target = inside(ctx.workspace, path, may_be_new=True)
    if target.is_dir():
        raise IsADirectoryError(f"{path!r} is a folder")
    existed = target.exists()
    replace_file(target, content)
    lines = len(content.splitlines())
    return f"{'replaced' if existed else 'wrote'} {path}: {lines} line{'s' * (lines != 1)}"
