"""`write_file`, `edit_file` and `glob`, as a model meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrt import ToolOutcome
from agentrt_tools import edit_file, files, glob, write_file
from agentrt_tools.glob import MAX_PATHS
from agentrt_tools.replacing import replace_file
from tests.tools.test_builtin_tools import use, write


def test_a_file_is_written_with_its_folders() -> None:
    shown, outcome = use(write_file, path="a/b/c.txt", content="one\ntwo\n")
    assert (shown, outcome) == ("wrote a/b/c.txt: 2 lines", ToolOutcome.FINISHED)


def test_a_file_that_is_there_is_replaced_with_its_permissions(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("old")
    script.chmod(0o755)
    replace_file(script, "new\r\n")
    assert script.read_bytes() == b"new\r\n"
    assert script.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [script]
    shown, _ = use(write_file, write({"run.sh": "old"}), path="run.sh", content="new")
    assert shown == "replaced run.sh: 1 line"


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "link/out.txt"])
def test_nothing_is_written_outside_of_the_workspace(tmp_path: Path, path: str) -> None:
    def arrange(workspace: Path) -> None:
        (workspace / "link").symlink_to(tmp_path)

    shown, outcome = use(write_file, arrange, path=path, content="x")
    assert outcome is ToolOutcome.FAILED
    assert "outside the workspace" in shown
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_overwritten() -> None:
    shown, outcome = use(write_file, write({"src/a.py": "x"}), path="src", content="x")
    assert outcome is ToolOutcome.FAILED and "'src' is a folder" in shown


CODE = "def a():\n    return 1\n\n\ndef b():\n    return 1\n"


def test_a_passage_that_stands_once_is_replaced() -> None:
    shown, outcome = use(
        edit_file,
        write({"a.py": CODE}),
        path="a.py",
        old="def b():\n    return 1",
        new="def b():\n    return 2",
    )
    assert (shown, outcome) == ("changed a.py at line 5", ToolOutcome.FINISHED)


def test_a_passage_that_stands_twice_is_not() -> None:
    shown, outcome = use(
        edit_file, write({"a.py": CODE}), path="a.py", old="return 1", new="return 2"
    )
    assert outcome is ToolOutcome.FAILED
    assert "2 times, at the lines 2, 6: give more around it" in shown


def test_a_passage_that_is_not_there_is_answered_with_the_nearest() -> None:
    shown, outcome = use(edit_file, write({"a.py": CODE}), path="a.py", old="def  b( ):", new="x")
    assert outcome is ToolOutcome.FAILED
    assert "the passage is not in 'a.py'; the nearest is line 5:\ndef b():\n    return 1" in shown
    shown, _ = use(edit_file, write({"a.py": CODE}), path="a.py", old="zzzzzz", new="x")
    assert shown.endswith("the passage is not in 'a.py'")


TREE = write(
    {
        "a.py": "",
        "src/b.py": "",
        "src/deep/c.py": "",
        "src/deep/test_d.py": "",
        "x.txt": "",
        ".git/e.py": "",
        "node_modules/f.py": "",
    }
)


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("*.py", ".", ["a.py", "src/b.py", "src/deep/c.py", "src/deep/test_d.py"]),
        ("**/*.py", ".", ["a.py", "src/b.py", "src/deep/c.py", "src/deep/test_d.py"]),
        ("src/*.py", ".", ["src/b.py"]),
        ("./src/**/*.py", ".", ["src/b.py", "src/deep/c.py", "src/deep/test_d.py"]),
        ("test_?.py", "src", ["deep/test_d.py"]),
        ("[!a]*.py", ".", ["src/b.py", "src/deep/c.py", "src/deep/test_d.py"]),
        ("*.{md", ".", ["no file fits '*.{md' in ."]),
    ],
)
def test_files_that_fit_a_pattern(pattern: str, path: str, found: list[str]) -> None:
    shown, outcome = use(glob, TREE, pattern=pattern, path=path)
    assert (shown.splitlines(), outcome) == (found, ToolOutcome.FINISHED)


def test_many_files_are_cut() -> None:
    many = write({f"{number:04}.txt": "" for number in range(MAX_PATHS + 50)})
    shown, _ = use(glob, many, pattern="*")
    assert len(shown.splitlines()) == MAX_PATHS + 1
    assert shown.endswith(f"[cut: the first {MAX_PATHS} paths shown]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": "/etc/*"}, "expected a relative one"),
        ({"pattern": "*", "path": ".."}, "outside the workspace"),
        ({"pattern": "*", "path": "a.py"}, "is not a folder"),
    ],
)
def test_wrong_patterns_and_folders(arguments: dict[str, str], message: str) -> None:
    shown, outcome = use(glob, TREE, **arguments)
    assert outcome is ToolOutcome.FAILED and message in shown


def test_what_writes_says_so() -> None:
    assert {tool.name for tool in files if tool.effect == "write"} == {"write_file", "edit_file"}
