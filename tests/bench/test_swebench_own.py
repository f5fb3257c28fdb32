"""Our own instances: the solutions pass, nothing does not, and swebench is what we take it for.

All of them: agentrt bench swebench --model gold.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentrt.cli.main import run

#: One of ours in three files, two of the package index.
QUICK = ["agentrt__shelf-3", "r1chardj0n3s__parse-1.20.2", "andialbrecht__sqlparse-0.5.5"]


@pytest.mark.parametrize(("model", "valid"), [("gold", 3), ("empty", 0)])
def test_the_quick_instances(
    model: str, valid: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", model, "--out", str(tmp_path), "--json", "-"]
    assert run(["bench", "swebench", *QUICK, *arguments]) == 0
    [figures] = json.loads(capsys.readouterr().out)["policies"]
    assert (figures["entries"], figures["valid"]) == (3, valid)
    assert figures["problems"] == ({} if valid else {"patch:empty": 3})
    reports = [
        json.loads(path.read_text())[path.parent.name]["tests_status"]
        for path in tmp_path.rglob("report.json")
    ]
    for report in reports:
        # The tests ran, whatever came of them: those that passed before still do.
        assert report["PASS_TO_PASS"]["success"] and not report["PASS_TO_PASS"]["failure"]
        assert bool(report["FAIL_TO_PASS"]["failure"]) == (model == "empty")
