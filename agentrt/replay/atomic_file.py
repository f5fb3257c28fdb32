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
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a draft that takes the place of `path` when the block ends without an error.

    What is no regular file, such as `/dev/null` or a pipe, is written to and not replaced; a link
    stays a link.

    Args:
        path: the file; compressed if the name ends in `.gz`. Its folder is made.

    Raises:
        OSError: the file cannot be written.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as raw:
            yield raw
        return
    target = path.resolve()
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with draft.open("wb") as raw:
            if path.suffix == ".gz":
                # Without name and time, so that equal content gives equal bytes.
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                    yield cast("IO[bytes]", packed)
            else:
                yield raw
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path, *, what: str) -> Iterator[IO[bytes]]:
    """`whole_file`, for results of commands.

    Args:
        what: name of the content for the message of an error.

    Raises:
        SettingError: the file cannot be written.
    """
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        raise SettingError(
            f"cannot write the {what} {path}: {error.strerror}", hint="give another file"
        ) from error
