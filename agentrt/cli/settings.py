"""Where options come from besides flags: variables, then files. First match wins."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import platformdirs
from cyclopts import CycloptsError
from cyclopts.config import Env, Toml

VARIABLE_PREFIX = "AGENTRT_"
FILE_NAME = "agentrt.toml"


class _SettingsFile(Toml):
    """A TOML file whose syntax errors name the file."""

    def _load_config(self, path: Path) -> dict[str, Any]:
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise CycloptsError(msg=f"{path}: {error}") from error


def settings_sources() -> list[Env | Toml]:
    """Variables, `agentrt.toml` here or in a parent folder, then in the user's config folder.

    A key is the command's path and the option's name: `AGENTRT_ENGINE_INSTALL_DEVICE`, or
    `device` in table `[engine.install]`.
    """
    return [
        Env(VARIABLE_PREFIX),
        _SettingsFile(FILE_NAME, search_parents=True),
        _SettingsFile(platformdirs.user_config_path("agentrt") / FILE_NAME),
    ]
