"""Virtual environments for the tests of instances: one per list of requirements, kept."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from agentrt_engine.cache import cache_dir
from agentrt_engine.pip import pip_command
from agentrt_tools.swebench.child import run_child

#: In an environment that is complete.
_COMPLETE = "complete"


async def python_environment(requirements: Sequence[str]) -> Path:
    """The folder of an environment of this Python with these packages, from wheels.

    Raises:
        RepositoryError: it cannot be made.
    """
    what = "\n".join([sys.executable, sys.version, *requirements])
    folder = cache_dir() / "environments" / hashlib.sha256(what.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        await anyio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
        if not (folder / _COMPLETE).exists():
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
            await _make(folder, requirements)
            (folder / _COMPLETE).touch()
    return folder


async def _make(folder: Path, requirements: Sequence[str]) -> None:
    title = ", ".join(requirements)
    made = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    await run_child(made, f"an environment for {title}")
    # Wheels only: whoever wrote the requirements runs nothing outside of the sandbox.
    options = ("--quiet", "--only-binary=:all:", "--")
    command = pip_command("--python", str(folder), "install", *options, *requirements)
    await run_child(command, f"pip install {title}")
