"""Where agentrt keeps what it fetched and what it logged."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_DIR_VARIABLE = "AGENTRT_CACHE_DIR"


def cache_dir() -> Path:
    """The user's cache folder for agentrt; `AGENTRT_CACHE_DIR` names another. May not exist."""
    if override := os.environ.get(CACHE_DIR_VARIABLE):
        return Path(override).expanduser().resolve()
    return platformdirs.user_cache_path("agentrt")


def models_dir() -> Path:
    """One folder per fetched model. May not exist."""
    return cache_dir() / "models"


def learned_dir() -> Path:
    """What engines learned, a file per model and policy. May not exist."""
    return cache_dir() / "learned"


def logs_dir() -> Path:
    """Log files of installers and engines. Made when absent."""
    folder = cache_dir() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
