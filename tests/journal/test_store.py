"""The file of a journal: what it survives, and that damage is noticed."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt.errors import JournalDamaged, JournalError
from agentrt.journal.events import Event, RunResumed
from agentrt.journal.store import FILE_NAME, MARK_NAME, MIGRATIONS, Durability, Store

EVENTS = tuple(RunResumed(f"event {number}") for number in range(20))


def write(folder: Path, *events: Event) -> None:
    store = Store(folder)
    for event in events:
        store.append(event)
    store.close()


def read(folder: Path, *, accept_loss: bool = False) -> tuple[Event, ...]:
    store = Store(folder, accept_loss=accept_loss)
    store.close()
    return store.events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "run", *EVENTS)
    return tmp_path / "run"


def execute(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / FILE_NAME) as database:
        database.execute(statement)
    database.close()


def test_events_are_there_again_in_their_order(folder: Path) -> None:
    assert read(folder) == EVENTS
    write(folder, RunResumed("one more"))
    assert read(folder) == (*EVENTS, RunResumed("one more"))


def test_only_the_owner_may_read_it(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("durability", Durability)
def test_a_killed_process_loses_nothing_that_was_appended(
    tmp_path: Path, durability: Durability
) -> None:
    script = f"""
import os, signal
from pathlib import Path
from agentrt.journal.events import RunResumed
from agentrt.journal.store import Durability, Store
store = Store(Path({str(tmp_path)!r}), durability=Durability({durability.value!r}))
for number in range(500):
    store.append(RunResumed(f"event {{number}}"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], timeout=60)
    assert killed.returncode == -9
    assert len(read(tmp_path)) == 500


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE events SET body = CAST(replace(body, '7', '8') AS BLOB) WHERE number = 8",
            "event 8 is another",
        ),
        (
            "UPDATE events SET body = CAST(body AS TEXT) WHERE number = 2",
            "event 2 is no longer what was written",
        ),
        ("DELETE FROM events WHERE number = 5", "event 5 is missing"),
        ("DELETE FROM events WHERE number = 20", "ends with event 19, but 20 were written"),
        ("DELETE FROM events", "ends with event 0, but 20 were written"),
        ("UPDATE events SET seal = 0 WHERE number = 3", "event 3 is another"),
        ("DROP TABLE events", "no such table"),
    ],
)
def test_a_change_is_noticed_and_nothing_is_changed_further(
    folder: Path, statement: str, told: str
) -> None:
    execute(folder, statement)
    before = (folder / FILE_NAME).read_bytes()
    with pytest.raises(JournalDamaged, match=told):
        read(folder)
    assert (folder / FILE_NAME).read_bytes() == before


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_or_a_cut_is_noticed_or_harmless(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "run"
    write(folder, *EVENTS)
    file = folder / FILE_NAME
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, 8 * len(content) - 1))
        content[at // 8] ^= 1 << at % 8
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    file.write_bytes(content)
    try:
        found = read(folder)
    except JournalError:
        return
    assert found == EVENTS


def test_damage_in_what_sqlite_has_not_merged_yet_is_noticed(tmp_path: Path) -> None:
    folder, crashed = tmp_path / "run", tmp_path / "crashed"
    store = Store(folder)
    for event in EVENTS:
        store.append(event)
    shutil.copytree(folder, crashed)  # as a killed process would leave it
    store.close()
    log = crashed / f"{FILE_NAME}-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    damaged = log.read_bytes()
    for _again in range(2):  # once it was opened the log is merged as far as it goes
        with pytest.raises(JournalDamaged, match="but 20 were written") as raised:
            read(crashed)
        kept = Path(raised.value.hint.rpartition(": ")[2])
        assert kept.read_bytes() == damaged
    found = read(crashed, accept_loss=True)
    assert found == EVENTS[: len(found)]
    write(crashed, RunResumed("on"))
    assert read(crashed) == (*found, RunResumed("on"))


def test_a_journal_of_a_newer_version_is_refused(folder: Path) -> None:
    execute(folder, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(JournalError, match="has version 2; this agentrt knows up to 1"):
        read(folder)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("hello " * 1000)
    with pytest.raises(JournalDamaged, match="not a database"):
        read(tmp_path)


def test_a_lost_mark_is_written_again(folder: Path) -> None:
    (folder / MARK_NAME).unlink()
    assert read(folder) == EVENTS
    execute(folder, "DELETE FROM events WHERE number = 20")
    with pytest.raises(JournalDamaged):
        read(folder)


def test_a_journal_that_cannot_be_written_says_so(folder: Path) -> None:
    store = Store(folder)
    other = sqlite3.connect(folder / FILE_NAME)
    other.execute("BEGIN IMMEDIATE")
    store._db.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(JournalError, match="cannot write to the journal"):
        store.append(RunResumed("x"))
    other.close()
    store.append(RunResumed("y"))
    store.close()
    assert read(folder) == (*EVENTS, RunResumed("y"))


def test_reading_only_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No such file"):
        Store(tmp_path / "none", reads_only=True)
    assert not list(tmp_path.iterdir())
