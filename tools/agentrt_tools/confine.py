"""Paths that a model names, kept inside the workspace."""

from __future__ import annotations

from pathlib import Path


class PathOutsideWorkspace(Exception):
    """A path leads out of the workspace."""


def inside(workspace: Path, path: str, *, may_be_new: bool = False) -> Path:
    """The absolute path, with symbolic links followed.

    Args:
        workspace: a resolved directory.
        path: relative to it, or absolute and inside it.
        may_be_new: there need not be anything at the path.

    Raises:
        PathOutsideWorkspace: it leads out, by `..`, by being absolute or through a link.
        FileNotFoundError: there is nothing at the path.
    """
    try:
        resolved = (workspace / path).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        raise FileNotFoundError(f"{path!r} is not a usable path: {error}") from error
    if not resolved.is_relative_to(workspace):
        raise PathOutsideWorkspace(f"{path!r} is outside the workspace; use a relative path")
    if not may_be_new and not resolved.exists():
        raise FileNotFoundError(f"there is no {path!r} in the workspace")
    return resolved
