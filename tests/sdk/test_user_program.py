"""A user's program that uses the whole API runs, and is clean to a strict type checker."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import agentrt
from agentrt.testing import Step, answer, call, says
from tests.sdk import user_program
from tests.support.scripted_engine import ScriptedEngine

SOURCE = Path(user_program.__file__)


def test_it_uses_everything_that_is_exported() -> None:
    tree = ast.parse(SOURCE.read_text())
    imported = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "agentrt"
        for name in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert imported & used == set(agentrt.__all__)


def test_it_is_clean_to_mypy_as_its_user_runs_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SOURCE.read_text())
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", program.name]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.stdout.startswith("Success"), found.stdout + found.stderr


def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = user_program.Order(item="tea", pieces=2)
    buys: list[Step] = [call("price", item="tea"), answer(json.loads(order.model_dump_json()))]
    thanks = [says("Thanks.")]
    # Each shop's first request comes after its buyer's.
    with ScriptedEngine([buys, thanks, buys, thanks]) as engine:
        orders = anyio.run(user_program.main, engine.url, tmp_path / "run")
    assert orders == [order]
    told = capsys.readouterr().out
    assert "[shop#2, turn 1] Thanks. (7 tokens)\n" in told
    assert "price {'item': 'tea'} … finished\n" in told
    assert told.index("[buyer#2] pending\n") < told.index("[buyer#2] finished\n")
    assert (
        told.splitlines()[-4:]
        == [
            "shop: 1 turns, 1 of 1 calls, done: True",
            "buyer: 2 turns, 1 of 1 calls, done: True",
        ]
        * 2
    )
