"""Every test of the command line has a home, a cache and a current folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current folder of the test, without settings from outside."""
    for name in [name for name in os.environ if name.startswith("AGENTRT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTRT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AGENTRT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "project/folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder
