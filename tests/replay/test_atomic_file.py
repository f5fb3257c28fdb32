"""A file is written whole or not at all, and what is no file is not replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrt.replay.atomic_file import whole_file


def test_a_block_that_fails_leaves_what_was_there_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_bytes(b"before")
    link.symlink_to(target)
    with whole_file(link) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    with whole_file(link) as file:
        file.write(b"gone")
    assert Path("/dev/null").is_char_device()
    assert link.is_symlink()
