"""import-linter: tools → agentrt → engine, and the pure parts stay pure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.light_environment import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The source tree, to break rules in."""
    for package in ("agentrt", "engine", "tools"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_tree_keeps_the_rules() -> None:
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("agentrt/version.py", "import agentrt_tools"),
        ("engine/agentrt_engine/cache.py", "import agentrt.version"),
        ("engine/agentrt_engine/wire/identity.py", "import torch"),
        ("engine/agentrt_engine/policy/__init__.py", "import sglang"),
        ("engine/agentrt_engine/simulated/engine.py", "import torch"),
    ],
)
def test_a_broken_rule_is_found(copy: Path, module: str, statement: str) -> None:
    with (copy / module).open("a") as source:
        source.write(f"\n{statement}\n")
    linted = lint(copy)
    assert linted.returncode == 1, linted.stdout
    assert "BROKEN" in linted.stdout


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    roots = (tree, tree / "engine", tree / "tools")
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))},
        capture_output=True,
        text=True,
    )
