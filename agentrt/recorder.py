"""Writes ended programs to a file in the format agentrt.trace.v1."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from agentrt.errors import SettingError
from agentrt.program import Program
from agentrt_engine.wire.trace import TraceHeader


class Recorder:
    """An open trace file. Each line is flushed, so that ended programs survive a crash.

    Args:
        path: the file, replaced if it exists; compressed if the name ends in `.gz`.
        start: beginning of the trace, in seconds on the runtime's clock.
        metadata: free entries of the header.

    Raises:
        SettingError: the file cannot be written.
    """

    def __init__(self, path: Path, *, start: float, metadata: Mapping[str, Any]) -> None:
        self._start = start
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open(path)
        except OSError as error:
            raise SettingError(
                f"cannot write the trace {path}: {error.strerror}", hint="give another file"
            ) from error
        self._write(TraceHeader(dict(metadata)).encode())

    def write(self, program: Program) -> None:
        """Append one ended program; one that never asked the model is none of a trace."""
        if program.turns:
            self._write(program.record(self._start).encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "wb"))
    return path.open("wb")
