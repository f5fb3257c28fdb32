"""The tool `glob`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agentrt import Context, tool
from agentrt_tools.confine import inside

MAX_PATHS = 200

#: Entries that are looked at before the search is given up.
MAX_LOOKED_AT = 100_000

_PIECES = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]/]{2,}\]|.", re.DOTALL)
_MEANING = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}

_SKIPPED = frozenset({".git", "node_modules", "__pycache__"})


@tool(timeout=30)
def glob(ctx: Context, pattern: str, path: str = ".") -> str:
    """List the files whose paths fit a pattern.

    Args:
        pattern: "*.py" for files anywhere, "src/*.py" for those of a folder, "src/**/*.py" for
            those below it.
        path: folder to search, relative to the working directory.
    """
    folder = inside(ctx.workspace, path)
    if not folder.is_dir():
        raise NotADirectoryError(f"{path!r} is not a folder")
    fits = _compiled(pattern).fullmatch
    found = []
    for looked_at, file in enumerate(_files(folder)):
        if looked_at == MAX_LOOKED_AT:
            found.append(f"[cut: more than {MAX_LOOKED_AT:,} files; search a folder of them]")
            break
        if fits(file):
            found.append(file)
            if len(found) > MAX_PATHS:
                found[-1] = f"[cut: the first {MAX_PATHS} paths shown]"
                break
    return "\n".join(found) or f"no file fits {pattern!r} in {path}"


def _compiled(pattern: str) -> re.Pattern[str]:
    """`**/` is any number of folders; a pattern without a folder fits in all of them."""
    stripped = pattern.removeprefix("./")
    if not stripped or stripped.startswith("/"):
        raise ValueError(f"pattern {pattern!r}: expected a relative one such as '**/*.py'")
    if "/" not in stripped:
        stripped = f"**/{stripped}"
    pieces = _PIECES.findall(stripped)
    return re.compile("".join(_MEANING.get(piece) or _class_or_text(piece) for piece in pieces))


def _class_or_text(piece: str) -> str:
    if len(piece) > 1:
        inner = piece[1:-1].replace("\\", "\\\\")
        return f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
    return re.escape(piece)


def _files(folder: Path) -> Iterator[str]:
    """Paths relative to the folder, in order."""
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            yield (Path(top) / name).relative_to(folder).as_posix()
