"""Sandboxes for the tests of tools: each test that takes `sandbox` runs in every kind."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from agentrt_tools.sandbox import Bubblewrap, PlainProcess, Sandbox, find_sandbox


def working_bubblewrap() -> Bubblewrap:
    """Bubblewrap, or skip the test where this machine has none that works."""
    executable = shutil.which("bwrap")
    if executable is None or not Bubblewrap(executable).works():
        pytest.skip("bubblewrap is not installed or may not make namespaces here")
    return Bubblewrap(executable)


@pytest.fixture
def bubblewrap() -> Bubblewrap:
    return working_bubblewrap()


@pytest.fixture(params=["bubblewrap", "plain"])
def sandbox(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Sandbox:
    if request.param == "bubblewrap":
        return working_bubblewrap()
    (tmp_path / "empty").mkdir()
    with caplog.at_level(logging.ERROR, logger="agentrt_tools"):
        found = find_sandbox(search_path=str(tmp_path / "empty"))
    assert isinstance(found, PlainProcess)
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path.resolve()
