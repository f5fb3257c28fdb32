"""A policy of one's own in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentrt_engine.errors import UnknownPolicy
from agentrt_engine.policy import make_policy

LATEST_FIRST = """
from agentrt_engine.policy import BasePolicy

class LatestFirst(BasePolicy):
    name = "latest-first"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write_(text: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(text)
        return str(path)

    return write_


def test_a_file_is_used_like_a_name(write: Callable[[str], str]) -> None:
    path = write(LATEST_FIRST)
    assert make_policy(path).name == "latest-first"
    assert make_policy(f"{path}:weight=2").weight == 2.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines 0 policies (none)"),
        (LATEST_FIRST + LATEST_FIRST.replace("LatestFirst", "Other"), "(LatestFirst, Other)"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nothing_like_this", "No module named"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(
    write: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(UnknownPolicy) as caught:
        make_policy(write(text))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownPolicy, match=r"no file .*nowhere\.py"):
        make_policy(str(tmp_path / "nowhere.py"))


def test_a_parameter_of_a_file_is_checked(write: Callable[[str], str]) -> None:
    with pytest.raises(UnknownPolicy, match="has no parameter 'size': expected weight"):
        make_policy(f"{write(LATEST_FIRST)}:size=2")
