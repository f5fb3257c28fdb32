"""`bash`, `read_file` and `grep`, as a model meets them: through a program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentrt import Context, Tool, ToolOutcome, agent, connect
from agentrt.testing import answer, call
from agentrt_tools import bash, grep, read_file
from agentrt_tools.confine import PathOutsideWorkspace, inside
from tests.support.scripted_engine import ScriptedEngine


def use(
    used: Tool, arrange: Callable[[Path], object] = lambda workspace: None, **arguments: Any
) -> tuple[str, ToolOutcome]:
    """What the model is shown of one call in a workspace that `arrange` fills."""

    @agent(tools=[used])
    async def worker(ctx: Context) -> None:
        """You work."""
        arrange(ctx.workspace)
        await ctx.loop("work")

    async def main(url: str) -> ToolOutcome:
        async with connect(url) as runtime:
            [called] = (await runtime.run(worker)).program.tool_calls
            return called.outcome

    with ScriptedEngine([call(used.name, **arguments), answer("done")]) as engine:
        outcome = anyio.run(main, engine.url)
    return engine.requests[-1].body["messages"][-1]["content"], outcome


def write(files: dict[str, str | bytes]) -> Callable[[Path], None]:
    def arrange(workspace: Path) -> None:
        for name, content in files.items():
            path = workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return arrange


def test_bash_gives_the_output_and_a_failing_exit_code() -> None:
    assert use(bash, command="echo hi") == ("hi", ToolOutcome.FINISHED)
    assert use(bash, command="true") == ("(no output)", ToolOutcome.FINISHED)
    assert use(bash, command="echo no >&2; exit 4") == ("no\n[exit code 4]", ToolOutcome.FINISHED)


def test_bash_says_when_it_stopped_a_command_that_talks_too_much() -> None:
    shown, _outcome = use(bash, command="yes 0123456789")
    assert shown.endswith("\n[stopped: it wrote more than 8,388,608 bytes]")
    assert "bytes left out]" in shown
    assert len(shown) < 4_000


def test_read_file_gives_a_small_file_whole() -> None:
    assert use(read_file, write({"a/b.txt": "one\ntwo\n"}), path="a/b.txt")[0] == "one\ntwo"


def test_read_file_gives_a_range_of_lines() -> None:
    numbers = write({"n": "".join(f"line {n}\n" for n in range(1, 1001))})
    shown, _outcome = use(read_file, numbers, path="n", first_line=500, lines=2)
    assert shown == "line 500\nline 501\n[lines 500 to 501 of 1000]"
    shown, _outcome = use(read_file, numbers, path="n")
    assert shown.endswith("line 200\n[lines 1 to 200 of 1000]")


def test_read_file_cuts_lines_that_do_not_fit() -> None:
    shown, _outcome = use(read_file, write({"long": "x" * 10_000 + "\nend\n"}), path="long")
    assert shown == "x" * 3_800 + "…\n[lines 1 to 1 of 2]"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"path": "none"}, "there is no 'none' in the workspace"),
        ({"path": "."}, "'.' is not a file"),
        ({"path": "binary"}, "'binary' is not a text file"),
        ({"path": "a", "first_line": 9}, "'a' has 1 lines, none from 9 on"),
        ({"path": "a\0b"}, "is not a usable path"),
        ({"path": "big"}, "'big' has 9,000,000 bytes"),
    ],
)
def test_read_file_says_what_is_wrong(arguments: dict[str, Any], error: str) -> None:
    def arrange(workspace: Path) -> None:
        write({"a": "x\n", "binary": b"\x7fELF\0"})(workspace)
        with (workspace / "big").open("wb") as big:
            big.truncate(9_000_000)

    shown, outcome = use(read_file, arrange, **arguments)
    assert error in shown
    assert outcome is ToolOutcome.FAILED


def test_grep_names_file_and_line() -> None:
    files = write({"a.py": "x = 1\ndef f():\n", "d/b.py": "def g():\n", ".git/c": "def h():\n"})
    shown, _outcome = use(grep, files, pattern=r"def (f|g)\(")
    assert sorted(shown.splitlines()) == ["a.py:2:def f():", "d/b.py:1:def g():"]
    assert use(grep, files, pattern="def", path="d")[0] == "d/b.py:1:def g():"
    assert use(grep, files, pattern="-v", path="a.py")[0] == "no match for '-v' in a.py"


def test_grep_shows_a_limited_number_of_limited_lines() -> None:
    shown, _outcome = use(grep, write({"a": "y" * 999 + "\n" + "y\n" * 99}), pattern="y")
    lines = shown.splitlines()
    assert lines[0] == "a:1:" + "y" * 196 + "…"
    assert lines[-1] == "[cut: the first 50 matches shown]"
    assert len(lines) == 51


def test_grep_shows_a_bad_expression_to_the_model() -> None:
    shown, outcome = use(grep, pattern="(")
    assert "Unmatched ( or" in shown
    assert outcome is ToolOutcome.FAILED


@pytest.mark.parametrize("used", [read_file, grep], ids=lambda used: used.name)
@pytest.mark.parametrize("path", ["..", "/etc/passwd", "a/../../x", "link/passwd", "link"])
def test_a_path_out_of_the_workspace_is_refused(used: Tool, path: str) -> None:
    arguments = {"path": path} | ({"pattern": "root"} if used is grep else {})

    def arrange(workspace: Path) -> None:
        (workspace / "link").symlink_to("/etc")

    shown, outcome = use(used, arrange, **arguments)
    assert f"PathOutsideWorkspace: {path!r} is outside the workspace" in shown
    assert outcome is ToolOutcome.FAILED


def test_paths_and_links_that_stay_inside_are_followed(workspace: Path) -> None:
    (workspace / "real").write_text("x")
    (workspace / "link").symlink_to("real")
    for path in ("real", "link", "./real", str(workspace / "real"), "../workspace/real"):
        assert inside(workspace, path) == workspace / "real"
    (workspace / "loop").symlink_to("loop")
    with pytest.raises((FileNotFoundError, PathOutsideWorkspace)):
        inside(workspace, "loop")
