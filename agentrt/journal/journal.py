"""The journal of one run, open for its programs."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from agentrt.errors import JournalError
from agentrt.journal.events import ProgramBegan, RunBegan, RunResumed
from agentrt.journal.past import Past
from agentrt.journal.program_journal import ProgramJournal, program_key
from agentrt.journal.store import Durability, Store

WORKSPACES = "workspaces"
_LOCK = "lock"


class Journal:
    """The programs of one run, those of earlier processes included.

    A program is known again by its parent, its agent and its arguments; of several that are alike
    the one that began first comes first.

    Args:
        folder: of the run; made if absent.
        durability: what events survive.
        begins: what a new journal says of its run.
        accept_loss: go on if the last events are gone.

    Raises:
        JournalError: another process uses it, or it cannot be opened.
        JournalDamaged: it was changed, or events are missing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durability: Durability = Durability.PROCESS,
        begins: RunBegan | None = None,
        accept_loss: bool = False,
    ) -> None:
        self.folder = folder
        self._lock = _locked(folder)
        self._pasts: dict[str, Past] = {}
        self._began: dict[str, ProgramBegan] = {}
        self._unclaimed: defaultdict[tuple[str | None, str], deque[str]] = defaultdict(deque)
        # Those that no other program started.
        self._unfinished: set[str] = set()
        with ExitStack() as opened:
            opened.callback(os.close, self._lock)
            self._store = Store(folder, durability=durability, accept_loss=accept_loss)
            opened.callback(self._store.close)
            self.begins = self._recall() or begins or RunBegan(created=now())
            self._store.append(RunResumed(now()) if self._store.events else self.begins)
            opened.pop_all()

    def program(
        self, agent: str, parent: str | None, arguments: Any, adapter: str | None = None
    ) -> ProgramJournal:
        """The journal of a program that begins or goes on.

        Args:
            parent: id of the program that starts it.
            arguments: of the agent, to know the program again.
            adapter: of one that begins; one that goes on has the one it began with.
        """
        key = program_key(agent, arguments)
        known = self._unclaimed[parent, key]
        if known:
            return self._journal_of(known.popleft())
        program_id = uuid4().hex
        began = ProgramBegan(program_id, agent, key, parent, adapter)
        self._store.append(began)
        self._remember(began)
        return self._journal_of(program_id)

    def children(self, parent: str) -> Sequence[tuple[str, ProgramJournal]]:
        """Agents and journals of the programs that a program of the past had started."""
        return [
            (began.agent, self._journal_of(began.program))
            for began in self._began.values()
            if began.parent == parent
        ]

    def workspace(self, program_id: str) -> Path:
        """A folder of a program, which stays until the run is over. May not exist."""
        return self.folder / WORKSPACES / program_id

    def finished(self, program_id: str) -> None:
        """The program has finished, and nothing of it is to be resumed."""
        self._unfinished.discard(program_id)

    def close(self) -> None:
        """Close it. Of a run whose programs have all finished the workspaces go. Blocks."""
        self._store.close()
        if not self._unfinished:
            shutil.rmtree(self.folder / WORKSPACES, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _journal_of(self, program_id: str) -> ProgramJournal:
        began = self._began[program_id]
        return ProgramJournal(
            program_id, self._store, self._pasts[program_id], adapter=began.adapter
        )

    def _recall(self) -> RunBegan | None:
        """Sort what was recorded; what was said of the run."""
        begins = None
        for event in self._store.events:
            match event:
                case RunBegan():
                    begins = event
                case RunResumed():
                    pass
                case ProgramBegan():
                    self._remember(event)
                    self._unclaimed[event.parent, event.key].append(event.program)
                case deed:
                    self._pasts[deed.program].add(deed)
        return begins

    def _remember(self, began: ProgramBegan) -> None:
        self._began[began.program] = began
        self._pasts[began.program] = Past()
        if began.parent is None:
            self._unfinished.add(began.program)


def now() -> str:
    """The time, as journals write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def is_used(folder: Path) -> bool:
    """Whether a process has the journal of a run open."""
    with suppress(OSError):
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a run until it is closed, or the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalError(
            f"cannot open the journal {folder}: {error.strerror}", hint="give another folder"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise JournalError(
            f"the run {folder.name} is in use by another process",
            hint="wait for it, or stop it: what it did is kept",
        ) from None
    return lock
