"""Virtual environments for the tests of instances: one per list of requirements, kept."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agentrt_engine.cache import cache_dir, logs_dir
from agentrt_engine.errors import EngineInstallFailed
from agentrt_engine.pip import pip_command, run_pip
from agentrt_tools.swebench.repository import RepositoryError

#: In an environment that is complete.
_COMPLETE = "complete"


def python_environment(requirements: Sequence[str]) -> Path:
    """The folder of an environment of this Python with these packages. Blocks.

    Raises:
        RepositoryError: it cannot be made.
    """
    name = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:16]
    folder = cache_dir() / "environments" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, requirements)
            (folder / _COMPLETE).touch()
    return folder


def _make(folder: Path, requirements: Sequence[str]) -> None:
    title = ", ".join(requirements)
    try:
        made = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(made, check=True, capture_output=True)
        command = pip_command("--python", str(folder), "install", "--quiet", *requirements)
        run_pip(command, title, logs_dir() / "environments.log", lambda line: None)
    except (subprocess.CalledProcessError, EngineInstallFailed) as error:
        raise RepositoryError(f"no environment with {title}: {error}") from error
