"""Runs that crash, at enumerated points and by kill -9, and are resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CRASHES = Path(__file__).parents[2] / "docs" / "benchmarks" / "crashes.py"

POINTS, KILLS = 400, 6


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("crashes") / "report.json"
    arguments = ["--points", str(POINTS), "--kills", str(KILLS), "--json", str(path)]
    finished = subprocess.run(
        [sys.executable, CRASHES, *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert path.exists(), finished.stdout + finished.stderr
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_wherever_it_crashes_nothing_is_lost_and_nothing_is_done_twice_unnoticed(
    report: dict[str, Any],
) -> None:
    found = report["points"]
    assert found["defects"] == []
    assert found["points"] == POINTS
    assert found["resumptions"] > POINTS
    # Both happen: writes that may or may not have taken effect, and requests that were under way.
    assert found["unknown"] > 0
    assert found["asked_again"] > 0


def test_kill_9_loses_nothing_either(report: dict[str, Any]) -> None:
    found = report["kills"]
    assert found["defects"] == []
    assert found["kills"] == KILLS
    assert found["runs"] > 0
