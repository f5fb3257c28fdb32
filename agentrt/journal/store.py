"""The file of a journal: numbered events in SQLite, sealed so that damage shows."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from zlib import crc32

import msgspec

from agentrt.errors import JournalDamaged, JournalError
from agentrt.journal.events import Event, decode, encode

FILE_NAME = "journal.sqlite"

#: Beside the journal: the number of the last event that was written, eight bytes.
MARK_NAME = "written"
_MARK_BYTES = 8

#: One script per version of the file; a journal of version n has had the first n.
MIGRATIONS = (
    """
    CREATE TABLE events (
        number INTEGER PRIMARY KEY,
        body BLOB NOT NULL,
        seal INTEGER NOT NULL
    );
    """,
)


class Durability(StrEnum):
    """What a recorded event survives."""

    #: The end of the process, also by kill -9. 0.1 ms per event.
    PROCESS = "process"
    #: A power failure, too: every event waits for the disk.
    POWER = "power"


class Store:
    """An open journal file. Events are appended and never changed.

    Each event is sealed with a checksum of itself and of all before it, and the number of the last
    one stands in a file beside: bits that flip and events that vanish are noticed.

    Attributes:
        events: that were there when it was opened.

    Args:
        folder: of the run; made if absent.
        accept_loss: go on if the last events are gone, as after a power failure.
        reads_only: another process may be writing.

    Raises:
        JournalDamaged: it was changed, or events are missing.
        JournalError: it cannot be opened, or a newer version wrote it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durability: Durability = Durability.PROCESS,
        accept_loss: bool = False,
        reads_only: bool = False,
    ) -> None:
        self.path = folder / FILE_NAME
        self._number, self._seal = 0, 0
        create = 0 if reads_only else os.O_CREAT
        try:
            if not reads_only:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite would let everybody read the file that it makes.
            os.close(os.open(self.path, os.O_RDWR | create, 0o600))
            self._mark = os.open(folder / MARK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise JournalError(
                f"cannot open the journal {self.path}: {error.strerror}",
                hint="agentrt runs list names those there are",
            ) from error
        self._kept_log = _keep_log(self.path)
        self._db = sqlite3.connect(self.path, isolation_level=None)
        try:
            # First, since another process may be writing.
            marked = int.from_bytes(os.pread(self._mark, _MARK_BYTES, 0), "little")
            self._prepare(durability)
            self.events = tuple(self._read())
            if marked > self._number and not accept_loss:
                raise JournalDamaged(
                    f"{self.path} ends with event {self._number}, but {marked} were written",
                    hint="power failed, or the file is damaged; --accept-loss goes on from what "
                    f"is there, and repeats what is not{self._where_log()}",
                )
            if marked <= self._number and self._kept_log is not None:
                self._kept_log.unlink(missing_ok=True)
            if not reads_only:
                self._write_mark()
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._damaged(str(error)) from error
        except BaseException:
            self.close()
            raise

    def append(self, event: Event) -> None:
        """Write an event; when this returns it is there.

        Raises:
            JournalError: it cannot be written, as on a full disk.
        """
        body = encode(event)
        seal = crc32(body, self._seal)
        try:
            self._db.execute("INSERT INTO events VALUES (?, ?, ?)", (self._number + 1, body, seal))
        except sqlite3.Error as error:
            raise JournalError(
                f"cannot write to the journal {self.path}: {error}",
                hint="what was recorded before is there; agentrt resume goes on from it",
            ) from error
        self._number, self._seal = self._number + 1, seal
        self._write_mark()

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        os.close(self._mark)

    def _prepare(self, durability: Durability) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        full = durability is Durability.POWER
        self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        version: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise JournalError(
                f"{self.path} has version {version}; this agentrt knows up to {len(MIGRATIONS)}",
                hint="resume the run with the version of agentrt that began it",
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    def _read(self) -> Iterator[Event]:
        problems = [row[0] for row in self._db.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise self._damaged(f"SQLite says: {problems[0]}")
        for number, body, seal in self._db.execute("SELECT * FROM events ORDER BY number"):
            if number != self._number + 1:
                raise self._damaged(f"event {self._number + 1} is missing")
            if not isinstance(body, bytes):
                raise self._damaged(f"event {number} is no longer what was written")
            self._number, self._seal = number, crc32(body, self._seal)
            if seal != self._seal:
                raise self._damaged(f"event {number} is another than was written")
            try:
                yield decode(body)
            except msgspec.DecodeError as error:
                raise self._damaged(f"event {number} is unreadable: {error}") from error

    def _write_mark(self) -> None:
        # Not before the event: it never says more than there is.
        os.pwrite(self._mark, self._number.to_bytes(_MARK_BYTES, "little"), 0)

    def _damaged(self, what: str) -> JournalDamaged:
        return JournalDamaged(
            f"{self.path} is damaged: {what}", hint=f"nothing in it was changed{self._where_log()}"
        )

    def _where_log(self) -> str:
        return f"; its write-ahead log as found: {self._kept_log}" if self._kept_log else ""


def _keep_log(path: Path) -> Path | None:
    """Copy the log that a crash left: SQLite drops what follows damage in it when it is opened."""
    log = path.with_name(f"{path.name}-wal")
    kept = path.with_name(f"{path.name}-wal.kept")
    if not log.exists() or not log.stat().st_size:
        return kept if kept.exists() else None
    if not kept.exists():  # an earlier one has more
        shutil.copy(log, kept)
    return kept
