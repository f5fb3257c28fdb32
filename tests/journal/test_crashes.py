"""Runs that crash, at enumerated points and by kill -9, and are resumed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentrt_engine.sglang.server import EngineProcess
from agentrt_engine.wire.hints import HINTS_PATH
from agentrt_engine.wire.programs import PROGRAMS_PATH

CRASHES = Path(__file__).parents[2] / "docs" / "benchmarks" / "crashes.py"

POINTS, KILLS, ENGINE_KILLS = 400, 6, 4


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("crashes") / "report.json"
    arguments = ["--points", str(POINTS), "--kills", str(KILLS), "--engine-kills", "0"]
    arguments += ["--json", str(path)]
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


def test_kill_9_leaves_no_process_and_resumption_leaves_no_program_at_the_engine(
    engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(CRASHES.parent))
    found = importlib.import_module("crash_engine").kill_and_look(engine.url, ENGINE_KILLS, 1)
    assert found.defects == []
    assert found.kills == ENGINE_KILLS
    assert found.resumed > 0
    assert found.in_tools > 0, "there was something that could be left"
    with httpx2.Client(base_url=engine.url, timeout=60) as client:  # other tests use it, too
        left = client.get(PROGRAMS_PATH).json()["programs"]
        ends = [{"program_id": row["program_id"], "kind": "ended"} for row in left]
        client.post(HINTS_PATH, json=ends).raise_for_status()
