"""Outputs in files, and where two engines differ."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agentrt.errors import ReplayError
from agentrt.replay.live.outputs import (
    Difference,
    TurnOutput,
    first_difference,
    first_differences,
    read_outputs,
    write_outputs,
)


def output(program: str, turn: int, *ids: int, engine: str = "a", seed: int = 1) -> TurnOutput:
    return TurnOutput(engine, seed, 1, program, turn, 10, 5, len(ids), list(ids))


def test_outputs_survive_a_file(tmp_path: Path) -> None:
    made = [output("p", 0, 1, 2), output("p", 0, 1, 2, engine="b")]
    write_outputs(tmp_path / "out.jsonl", made)
    assert read_outputs(tmp_path / "out.jsonl") == made
    assert read_outputs(tmp_path / "out.jsonl", "b") == made[1:]


def test_of_each_program_the_first_token_that_differs() -> None:
    a = [output("p", 0, 1, 2), output("p", 1, 3, 4), output("p", 2, 5), output("q", 0, 7)]
    b = [output("p", 0, 1, 2), output("p", 1, 3, 9), output("p", 2, 8), output("q", 0, 7)]
    (found,) = first_differences(a, b)
    assert found == Difference(1, 1, "p", 1, 1, 4, 9)
    assert first_difference(a, b) == found
    assert first_difference(a, a) is None


def test_an_output_that_ends_before_the_other_differs_there() -> None:
    found = first_difference([output("p", 0, 1, 2)], [output("p", 0, 1)])
    assert found == Difference(1, 1, "p", 0, 1, 2, None)


def test_the_order_of_lines_does_not_matter() -> None:
    a = [output("p", 0, 1), output("p", 0, 2, seed=2)]
    assert first_differences(a, a[::-1]) == []


def test_other_programs_cannot_be_compared() -> None:
    with pytest.raises(ReplayError, match="turn 1 of program p has an output on one engine only"):
        first_differences([output("p", 0, 1)], [output("p", 0, 1), output("p", 1, 1)])
    silent = [msgspec.structs.replace(output("p", 0, 1), output_ids=None)]
    with pytest.raises(ReplayError, match="did not say which tokens it generated"):
        first_differences(silent, silent)
