"""Commands of an instance in the sandbox of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from agentrt_tools.command import MAX_OUTPUT_BYTES, CommandResult, run_command
from agentrt_tools.sandbox import Allowed, Sandbox, default_sandbox
from agentrt_tools.swebench.instance import Local
from agentrt_tools.swebench.place import LIMITS, Place
from agentrt_tools.swebench.repository import Repository

#: Where commands see their checkout: the same for each, or prompts would differ.
_SEEN_AT = Path("/tmp/testbed")


class LocalPlace:
    """A folder of this machine, in the sandbox.

    Args:
        folder: has the checkout in `testbed`, what stands for /tmp in `tmp`, and in `files` what
            commands may read and not change.
        python: the virtual environment of its tests.
        python_path: folders of the checkout from which packages are imported.
        sandbox: what confines commands.
    """

    def __init__(
        self, folder: Path, python: Path, python_path: tuple[str, ...], sandbox: Sandbox
    ) -> None:
        self._checkout = folder / "testbed"
        self._files = folder / "files"
        self._python = python
        self._python_path = python_path
        self._sandbox = sandbox
        self._allowed = Allowed(
            # Below an interpreter lie its libraries, wherever that is.
            readable=((python / "bin/python").resolve().parent.parent, python, self._files),
            scratch=folder / "tmp",
            workspace_at=_SEEN_AT,
        )
        self.workdir = str(sandbox.seen(self._checkout, self._allowed))

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
        return await run_command(
            ["env", *assignments, "bash", "-c", command],
            sandbox=self._sandbox,
            workspace=self._checkout,
            output_limit=MAX_OUTPUT_BYTES,
            limits=LIMITS,
            allowed=self._allowed,
            timeout=timeout,
        )

    async def put(self, name: str, text: str) -> str:
        """See `Place`."""
        path = anyio.Path(self._files, name)
        await path.write_text(text)
        return str(path)


@asynccontextmanager
async def local_place(prepared: Repository, local: Local, python: Path) -> AsyncIterator[Place]:
    """A checkout of its own, gone when the block ends.

    Args:
        prepared: what is copied.
        python: the virtual environment.
    """
    sandbox = await anyio.to_thread.run_sync(default_sandbox)
    folder = await anyio.to_thread.run_sync(_copied, prepared)
    try:
        yield LocalPlace(folder, python, local.python_path, sandbox)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))


def _copied(prepared: Repository) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="agentrt-")).resolve()
    for name in ("tmp", "files"):
        (folder / name).mkdir()
    prepared.copy(folder / "testbed")
    return folder
