"""Files that change as a whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(target: Path, content: str) -> None:
    """Write a text file so that it holds the old content or the new one, and nothing between.

    Folders above it are made; a file that exists keeps its permissions.

    Raises:
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".agentrt-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
