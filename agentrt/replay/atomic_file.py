"""A file that is either written whole or not touched."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from agentrt.errors import SettingError


@contextmanager
def atomic_file(path: Path, *, what: str) -> Iterator[IO[bytes]]:
    """Open a draft that takes the place of `path` when the block ends without an error.

    Args:
        path: the file; compressed if the name ends in `.gz`. Its folder is made.
        what: name of the content for the message of an error.

    Raises:
        SettingError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as raw:
                if path.suffix == ".gz":
                    # Without name and time, so that equal content gives equal bytes.
                    with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                        yield cast("IO[bytes]", packed)
                else:
                    yield raw
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise SettingError(
            f"cannot write the {what} {path}: {error.strerror}", hint="give another file"
        ) from error
