"""A trace file as lines or as JSON documents, compressed or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import msgspec

from agentrt.errors import TraceError

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: Objects at the beginning of a file by which its format is recognised.
OPENING_OBJECTS = 64

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Opening:
    """The beginning of a file.

    Attributes:
        objects: its first JSON objects, one per line, or the only one; values undecoded.
        name: name of the file.
    """

    objects: tuple[dict[str, msgspec.Raw], ...]
    name: str

    @property
    def first(self) -> dict[str, msgspec.Raw]:
        """The first object; empty if there is none."""
        return self.objects[0] if self.objects else {}

    def text(self, key: str) -> str | None:
        """The string that the first object has at `key`; None if there is none."""
        return text_at(self.first, key)


def text_at(fields: dict[str, msgspec.Raw], key: str) -> str | None:
    """The string at `key`; None if there is none."""
    if key not in fields:
        return None
    value = msgspec.json.decode(fields[key])
    return value if isinstance(value, str) else None


class TraceSource:
    """A file that holds a trace. It is opened anew for each pass over it.

    Raises:
        TraceError: it is missing, unreadable, damaged, or compressed with zstd.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, line: int | None = None) -> str:
        """How messages name the file, or a line of it."""
        return str(self.path) if line is None else f"{self.path}, line {line}"

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, with their numbers from 1."""
        with self._open() as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """JSON documents with their places: each line is one, or the whole file is."""
        if self._is_one_document():
            yield self.place(), self.read()
        else:
            for number, line in self.lines():
                yield self.place(number), line

    def read(self) -> bytes:
        """Everything, decompressed."""
        with self._open() as file:
            return file.read()

    def opening(self) -> Opening:
        """The beginning of the file, for recognising its format.

        Raises:
            TraceError: also when the file is empty.
        """
        objects: list[dict[str, msgspec.Raw]] = []
        empty = True
        for _, line in self.lines():
            empty = False
            fields = _fields(line)
            if fields is None:
                break
            objects.append(fields)
            if len(objects) == OPENING_OBJECTS:
                break
        if empty:
            raise TraceError(f"{self.path} is empty", hint="give a file that holds a trace")
        if not objects and (document := _fields(self.read())) is not None:
            objects.append(document)
        return Opening(tuple(objects), self.path.name)

    def _is_one_document(self) -> bool:
        first = next(self.lines(), None)
        return first is not None and _fields(first[1]) is None

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            with self.path.open("rb") as raw:
                magic = raw.read(4)
                raw.seek(0)
                if magic == _ZSTD_MAGIC:
                    raise TraceError(
                        f"{self.path} is compressed with zstd, which is not supported",
                        hint=f"zstd -dc {self.path} | gzip > {self.path.with_suffix('.gz')}",
                    )
                if magic.startswith(_GZIP_MAGIC):
                    with gzip.open(raw, "rb") as unpacked:
                        yield cast("IO[bytes]", unpacked)
                else:
                    yield raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise TraceError(
                f"{self.path} is damaged: {error}", hint="copy or download it again"
            ) from error
        except OSError as error:
            raise TraceError(
                f"cannot read the trace {self.path}: {error.strerror}", hint="give a readable file"
            ) from error


def _fields(document: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _OBJECT.decode(document)
    except msgspec.DecodeError:
        return None
