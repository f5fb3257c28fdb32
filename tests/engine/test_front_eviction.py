"""Contexts lose parts of themselves in a running engine, and no log-probability changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.front_probe import Exactness, Report, probe

#: Of float32, relative.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Report:
    return probe(tmp_path_factory.mktemp("fronts"), model_folder, seed=1)


def _is_exact(turn: Exactness) -> bool:
    return turn["same_text"] and turn["difference"] < TOLERANCE


def test_a_hole_anywhere_changes_no_log_probability(report: Report) -> None:
    assert len(report["exact"]) >= 10
    assert [turn["what"] for turn in report["exact"] if not _is_exact(turn)] == []


def test_only_the_hole_is_computed_again(report: Report) -> None:
    for turn in report["exact"]:
        assert turn["cached"] == turn["expected"], turn["what"]


def test_a_turn_that_is_called_off_in_the_hole_costs_time_only(report: Report) -> None:
    turn = report["aborted"]
    assert _is_exact(turn)
    assert turn["cached"] == turn["expected"]


def test_under_pressure_every_text_is_that_of_an_empty_engine(report: Report) -> None:
    pressure = report["pressure"]
    assert pressure["cuts"] > len(report["exact"]) + 1
    assert pressure["put_back"] > len(report["exact"])
    assert all(pressure["same_text"])


def test_no_memory_is_lost(report: Report) -> None:
    assert report["pressure"]["held"] == 0


def test_without_chunks_only_tails_can_yield(report: Report) -> None:
    refused = "does not work with --chunked-prefill-size -1"
    assert report["refusals"] == {
        "asym": f"policy asym {refused}",
        "guard": "",
        "guard:fronts=yes": f"policy guard {refused}",
    }
