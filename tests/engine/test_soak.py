"""A short soak: random programs, aborts, flushes, disconnects, garbage hints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOAK = Path(__file__).parents[2] / "docs" / "benchmarks" / "soak.py"

#: Two epochs; a soak for figures takes 30 minutes.
MINUTES = 1.5


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("soak") / "report.json"
    arguments = ["--minutes", str(MINUTES), "--seed", "7", "--json", str(path)]
    finished = subprocess.run(
        [sys.executable, SOAK, *arguments], capture_output=True, text=True, timeout=500, check=False
    )
    assert path.exists(), finished.stdout + finished.stderr
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_a_soak_finds_no_defect(report: dict[str, Any]) -> None:
    assert report["defects"] == []
    assert report["checks"]["log"] == report["checks"]["processes"] == 1


def test_a_soak_puts_the_engine_under_pressure(report: dict[str, Any]) -> None:
    totals = report["totals"]
    assert totals["reclaims"]["admission"] > 0
    assert totals["leases"]["consumed"] > 0
    assert totals["flushes"] > 0
    assert totals["retractions"] > 0


def test_a_soak_tries_every_kind_of_request(report: dict[str, Any]) -> None:
    kinds = set(report["answers"])
    assert {"hints", "malformed hints", "strange hints", "oversized hints", "wrong key"} <= kinds
    assert {"odd request", "kv_hints envelope", "/abort_request", "/close_session"} <= kinds
    for path in ("/generate", "/v1/completions", "/v1/chat/completions"):
        assert {path, f"{path} stream", f"{path} stream hung up"} <= kinds
