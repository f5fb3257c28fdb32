"""Results are kept as they come, and a run goes on from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrt.errors import SettingError
from agentrt_tools.bench.figures import figures
from agentrt_tools.bench.results import EntryResult, ResultFile, file_name

SETTINGS = {"benchmark": "bfcl", "max_tokens": 512}


def result(entry: str, policy: str | None = None, **fields: object) -> EntryResult:
    given: dict[str, object] = {"category": "c", "valid": True, **fields}
    return EntryResult(entry=entry, policy=policy, **given)  # type: ignore[arg-type]


def test_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "new/results.jsonl"
    with ResultFile(path, SETTINGS) as file:
        file.add(result("a", "lru"))
    with ResultFile(path, SETTINGS) as file:
        assert file.done() == {("a", "lru")}
        file.add(result("a", "guard"))
    with ResultFile(path, SETTINGS) as file:
        assert file.done() == {("a", "lru"), ("a", "guard")}


def test_a_line_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultFile(path, SETTINGS) as file:
        file.add(result("a"))
        file.add(result("b"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with ResultFile(path, SETTINGS) as file:
        assert file.done() == {("a", None)}
        file.add(result("b"))
    assert path.read_bytes() == whole


def test_results_under_other_settings_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultFile(path, SETTINGS) as file:
        file.add(result("a"))
    before = path.read_bytes()
    with pytest.raises(SettingError, match="max_tokens is 512 there, 64 here"):
        ResultFile(path, SETTINGS | {"max_tokens": 64})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["nonsense\n", '{"format":"x"}\n', "{}", "\n\n"])
def test_other_files_are_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    with pytest.raises(SettingError, match="holds no results of a benchmark"):
        ResultFile(path, SETTINGS)
    assert path.read_text() == content


def test_transcripts_are_compared_with_those_of_the_first_policy() -> None:
    calls = (("ls()",),)
    _lru, guard = figures(
        [
            result("a", "lru", calls=calls),
            result("b", "lru", calls=calls, answers=("x",)),
            result("a", "guard", calls=calls),
            result("b", "guard", calls=calls, answers=("y",)),
            result("c", "guard", calls=calls),
        ]
    )
    assert guard["differing"] == 1


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ("guard", "guard"),
        ("guard:headroom=0.02", "guard_headroom=0.02"),
        ("./mine.py", "mine.py"),
        ("../..", "policy"),
    ],
)
def test_files_are_named_after_policies(policy: str, name: str) -> None:
    assert file_name(policy) == name


def test_figures_by_policy() -> None:
    lru, guard = figures(
        [
            result("a", "lru", seconds=2.0, input_tokens=100, cached_tokens=20, ttft_s=0.5),
            result("b", "lru", seconds=4.0, input_tokens=100, cached_tokens=40, valid=False,
                   problem="tool:lost", category="d"),
            result("a", "guard", seconds=1.0),
        ]
    )  # fmt: skip
    assert (lru["policy"], lru["entries"], lru["valid"], lru["score"]) == ("lru", 2, 1, 0.5)
    assert (lru["jct_mean_s"], lru["jct_p95_s"]) == (3.0, 4.0)
    assert (lru["cached_fraction"], lru["ttft_mean_s"]) == (0.3, 0.5)
    assert lru["score_by_category"] == {"c": 1.0, "d": 0.0}
    assert lru["problems"] == {"tool:lost": 1}
    assert (lru["differing"], guard["differing"]) == (0, 0)
    assert (guard["cached_fraction"], guard["ttft_mean_s"]) == (None, None)
