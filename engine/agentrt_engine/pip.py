"""The pip of this interpreter. Indexes come from the user's `PIP_*` variables and pip.conf."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from agentrt_engine.child import ChildFailed, run_logged
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


def run_pip(
    command: list[str], title: str, log: Path, detail: Callable[[str], None], *, hint: str = ""
) -> None:
    """Run a command of `pip_command`.

    Args:
        title: what it installs, for people.
        log: file that its output is appended to.
        detail: receives its lines.

    Raises:
        EngineInstallFailed: pip failed; the message quotes it.
    """
    try:
        run_logged(command, log=log, on_line=detail)
    except ChildFailed as failure:
        raise EngineInstallFailed(
            f"pip could not install {title}: {failure}",
            hint=hint or "mend what pip says above, then run the command again",
        ) from failure
