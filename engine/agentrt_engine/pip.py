"""The pip of this interpreter. Indexes come from the user's `PIP_*` variables and pip.conf."""

from __future__ import annotations

import importlib.util
import sys

from agentrt_engine.errors import EngineInstallFailed


def pip_command(*arguments: str) -> list[str]:
    """Command line that runs pip for the running interpreter, without prompts.

    Raises:
        EngineInstallFailed: this environment has no pip.
    """
    if importlib.util.find_spec("pip") is None:
        raise EngineInstallFailed(
            f"{sys.executable} has no pip",
            hint=f"{sys.executable} -m ensurepip --upgrade (with uv: uv pip install pip)",
        )
    pip = (sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check")
    return [*pip, *arguments]
