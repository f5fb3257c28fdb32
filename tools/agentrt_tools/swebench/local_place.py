"""Commands of an instance in the sandbox of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from agentrt_tools.command import MAX_OUTPUT_BYTES, CommandResult, run_command
from agentrt_tools.sandbox import Allowed, default_sandbox
from agentrt_tools.swebench.instance import Local
from agentrt_tools.swebench.place import LIMITS, Place
from agentrt_tools.swebench.repository import Repository


class LocalPlace:
    """A folder of this machine, in the sandbox.

    Args:
        folder: the checkout.
        scratch: folder that stands for /tmp.
        python: the virtual environment of its tests.
        python_path: folders of the checkout from which packages are imported.
    """

    def __init__(
        self, folder: Path, scratch: Path, python: Path, python_path: tuple[str, ...]
    ) -> None:
        self.workdir = str(folder)
        self._folder = folder
        self._scratch = scratch
        self._python = python
        # Below it lie its libraries, wherever that is.
        self._interpreter = (python / "bin/python").resolve().parent.parent
        self._python_path = python_path

    async def run(
        self, command: str, timeout: float, environment: Mapping[str, str] = {}
    ) -> CommandResult:
        """See `Place`."""
        variables = {
            **environment,
            "PATH": f"{self._python}/bin:/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(self._python),
            "PYTHONPATH": ":".join(f"{self.workdir}/{each}" for each in self._python_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/tmp",
        }
        assignments = [f"{name}={value}" for name, value in variables.items() if value]
        with anyio.fail_after(timeout):
            return await run_command(
                ["env", *assignments, "bash", "-c", command],
                sandbox=await anyio.to_thread.run_sync(default_sandbox),
                workspace=self._folder,
                output_limit=MAX_OUTPUT_BYTES,
                limits=LIMITS,
                allowed=Allowed(readable=(self._interpreter, self._python), scratch=self._scratch),
            )

    async def put(self, name: str, text: str) -> str:
        """See `Place`: inside of .git, where git does not look for changes."""
        path = anyio.Path(self._folder, ".git", name)
        await path.write_text(text)
        return str(path)


@asynccontextmanager
async def local_place(prepared: Repository, local: Local, python: Path) -> AsyncIterator[Place]:
    """A checkout of its own, gone when the block ends.

    Args:
        prepared: what is copied.
        python: the virtual environment.
    """
    with tempfile.TemporaryDirectory(prefix="agentrt-", ignore_cleanup_errors=True) as name:
        folder, scratch = await anyio.to_thread.run_sync(_copied, prepared, name)
        yield LocalPlace(folder, scratch, python, local.python_path)


def _copied(prepared: Repository, name: str) -> tuple[Path, Path]:
    """A checkout and an empty folder in a new folder."""
    folder = Path(name).resolve()
    scratch = folder / "tmp"
    scratch.mkdir()
    return prepared.copy(folder / "testbed").folder, scratch
