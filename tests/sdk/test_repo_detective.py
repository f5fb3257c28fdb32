"""The example `repo_detective`: its repository is real and has the bug it speaks of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio

from agentrt import ProgramResult, ToolOutcome, connect
from agentrt.testing import answer, call
from examples import repo_detective
from tests.support.scripted_engine import ScriptedEngine


def git(directory: Path, *arguments: str) -> str:
    completed = subprocess.run(
        ["git", *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return completed.stdout


def total_is_right(directory: Path) -> bool:
    """Whether the cart counts every piece, in the commit that is checked out."""
    script = (
        "from cart import Cart; from prices import price_of; c = Cart(); c.add('apple', 3);"
        "assert c.total() == 3 * price_of('apple')"
    )
    completed = subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=directory, capture_output=True, check=False
    )
    return completed.returncode == 0


def test_the_repository_has_one_commit_that_breaks_the_total(tmp_path: Path) -> None:
    repo_detective.make_repository(tmp_path)
    history = git(tmp_path, "log", "--reverse", "--format=%h %s").splitlines()
    assert [line.partition(" ")[2] for line in history] == [
        commit.message for commit in repo_detective.COMMITS
    ]
    right = {}
    for line in history:
        short, _, message = line.partition(" ")
        git(tmp_path, "checkout", "--quiet", short)
        if (tmp_path / "cart.py").exists():
            right[message] = total_is_right(tmp_path)
    assert right == {
        "Add the cart": True,
        "Test the total of the cart": True,
        "Sell cheese": True,
        "Add discounts": True,
        "Simplify total()": False,
        "Explain discounts": False,
        "Raise the price of bread": False,
    }


def test_every_copy_has_the_same_history(tmp_path: Path) -> None:
    heads = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        repo_detective.make_repository(tmp_path / name)
        heads.add(git(tmp_path / name, "rev-parse", "HEAD"))
        assert git(tmp_path / name, "status", "--porcelain") == ""
    assert len(heads) == 1


def test_the_detective_works_on_its_repository_with_all_its_tools() -> None:
    async def main(url: str) -> ProgramResult[str]:
        async with connect(url) as runtime:
            return await runtime.run(repo_detective.detective)

    steps = [
        call("bash", command="git log --oneline -- cart.py"),
        answer("Three commits."),
        call("grep", pattern="price_of", path="cart.py"),
        answer("Line 13."),
        call("read_file", path="cart.py"),
        answer("A cart."),
        call("bash", command="git show --format=%s --unified=0 HEAD~2"),
        answer("It forgets the count."),
        answer("Simplify total() forgets the count."),
    ]
    with ScriptedEngine(steps) as engine:
        run = anyio.run(main, engine.url)
    assert run.output == "Simplify total() forgets the count."
    assert [c.outcome for c in run.program.tool_calls] == [ToolOutcome.FINISHED] * 4
    log, found, content, change = [
        message["content"]
        for message in engine.requests[-1].body["messages"]
        if message["role"] == "tool"
    ]
    assert [line.split(" ", 1)[1] for line in log.splitlines()] == [
        "Simplify total()",
        "Add discounts",
        "Add the cart",
    ]
    assert found.splitlines() == [
        "cart.py:1:from prices import price_of",
        "cart.py:13:        cents = sum(price_of(item) for item, _ in self.items)",
    ]
    assert "for item, _ in self.items" in content
    assert "-        cents = sum(price_of(item) * count for item, count in self.items)" in change
