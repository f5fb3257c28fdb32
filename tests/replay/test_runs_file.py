"""Lists of programs and arrivals from a file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agentrt.errors import ReplayError
from agentrt.replay.runs_file import ChosenCell, choose_cell, listed_programs, load_runs

OPEN = {"seed": 1, "programs": ["a", "b", "a"], "arrival_s": [0.5, 2.0, 2.0]}
CLOSED = {"seed": 1, "programs": ["b", "a"]}
CELLS = {
    "settings": {"profile": "llama-3.1-8b-h200", "pause_cap_s": 300, "note": "ignored"},
    "cells": [
        {"workload": "agents", "kv_tokens": 1000, "rate": 0.5, "concurrency": None, "runs": [OPEN]},
        {"workload": "agents", "kv_tokens": 2000, "rate": None, "concurrency": 4, "runs": [CLOSED]},
        {"workload": "others", "kv_tokens": 2000, "rate": 0.1, "runs": [OPEN]},
    ],
}
PLANS = {"a": 0, "b": 1}


def write(folder: Path, document: Any) -> Path:
    path = folder / "runs.json"
    path.write_text(json.dumps(document))
    return path


def chosen(folder: Path, document: Any, index: int | None = None) -> ChosenCell:
    return choose_cell(
        load_runs(write(folder, document)), index=index, workload="agents", kv_tokens=None
    )


def test_cells_keep_their_load_and_their_settings(tmp_path: Path) -> None:
    cell = chosen(tmp_path, CELLS, 0)
    assert (cell.cell.kv_tokens, cell.cell.rate, cell.cell.concurrency) == (1000, 0.5, None)
    assert (cell.settings.profile, cell.settings.pause_cap_s) == ("llama-3.1-8b-h200", 300)
    (listed,) = listed_programs(cell, seeds=None, plans=PLANS, left_out=[])
    assert listed.programs == (0, 1, 0)
    assert listed.arrival_s == (0.5, 2.0, 2.0)


def test_a_list_by_itself_is_a_cell(tmp_path: Path) -> None:
    cell = chosen(tmp_path, {"concurrency": 2, "runs": [CLOSED, {**CLOSED, "seed": 2}]})
    lists = listed_programs(cell, seeds=[2], plans=PLANS, left_out=[])
    assert [(listed.seed, listed.programs, listed.arrival_s) for listed in lists] == [
        (2, (1, 0), None)
    ]


def test_a_file_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "runs.json.gz"
    path.write_bytes(gzip.compress(json.dumps(CELLS).encode()))
    assert len(load_runs(path).cells) == 3


def test_the_only_cell_for_the_workload_and_memory_is_found(tmp_path: Path) -> None:
    file = load_runs(write(tmp_path, CELLS))
    assert choose_cell(file, index=None, workload="agents", kv_tokens=2000).index == 1
    assert choose_cell(file, index=None, workload="others", kv_tokens=None).index == 2


@pytest.mark.parametrize(
    ("index", "workload", "kv_tokens", "says"),
    [
        (None, "agents", None, "2 cells are for agents"),
        (None, "agents", 3000, "no cell is for agents with 3,000 KV tokens"),
        (3, "agents", None, "--cell 3: .* has the cells 0 to 2"),
        (-1, "agents", None, "--cell -1: .* has the cells 0 to 2"),
    ],
)
def test_a_cell_that_cannot_be_chosen_is_an_error_that_lists_the_cells(
    tmp_path: Path, index: int | None, workload: str, kv_tokens: int | None, says: str
) -> None:
    file = load_runs(write(tmp_path, CELLS))
    with pytest.raises(ReplayError, match=says) as found:
        choose_cell(file, index=index, workload=workload, kv_tokens=kv_tokens)
    assert "1: agents, 2,000 KV tokens, 4 active" in found.value.hint


def test_an_unknown_program_is_named_with_its_place(tmp_path: Path) -> None:
    cell = chosen(tmp_path, CELLS, 0)
    with pytest.raises(ReplayError) as found:
        listed_programs(cell, seeds=None, plans={"a": 0}, left_out=[])
    assert "runs.json: cells[0].runs[0].programs[1]: 'b' is no program of" in str(found.value)


def test_programs_left_out_are_skipped_with_their_arrivals(tmp_path: Path) -> None:
    cell = chosen(tmp_path, CELLS, 0)
    (listed,) = listed_programs(cell, seeds=None, plans={"b": 0}, left_out=["a"])
    assert (listed.programs, listed.arrival_s) == ((0,), (2.0,))


def test_a_seed_that_the_file_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(
        ReplayError, match=r"--seed 9: .*runs.json: cells\[0\].runs has the seeds 1"
    ):
        listed_programs(chosen(tmp_path, CELLS, 0), seeds=[9], plans=PLANS, left_out=[])


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "Expected `object`"),
        ({}, "runs: expected at least one run"),
        ({"runs": [{"seed": "x", "programs": []}]}, r"Expected `int`.*\$\.runs\[0\]\.seed"),
        ({"runs": [{**OPEN, "programs": []}]}, r"runs\[0\]\.programs: expected at least one"),
        ({"runs": [OPEN, OPEN]}, r"runs\[1\]\.seed: 1 is there twice"),
        ({"runs": [CLOSED]}, r"runs\[0\]: expected either arrival_s .* or a concurrency"),
        ({"concurrency": 4, "runs": [OPEN]}, r"runs\[0\]: expected either arrival_s"),
        ({"concurrency": 0, "runs": [CLOSED]}, "concurrency = 0: expected at least 1"),
        ({"kv_tokens": -1, "runs": [OPEN]}, "kv_tokens = -1: expected at least 1"),
        ({"runs": [{**OPEN, "arrival_s": [1.0]}]}, r"arrival_s: 1 times for 3 programs"),
        ({"runs": [{**OPEN, "arrival_s": [0, 2, 1]}]}, r"arrival_s\[2\] = 1.0: expected a time"),
        ({"runs": [{**OPEN, "arrival_s": [-1, 2, 1]}]}, r"arrival_s\[0\] = -1.0: expected a time"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, document: Any, says: str) -> None:
    with pytest.raises(ReplayError, match=says) as found:
        load_runs(write(tmp_path, document))
    assert "runs.json" in str(found.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\x1f\x8b\x08", b"\xff\xfe"])
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "runs.json"
    path.write_bytes(data)
    with pytest.raises(ReplayError, match=r"--runs .*runs.json"):
        load_runs(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="No such file"):
        load_runs(tmp_path / "nothing.json")
