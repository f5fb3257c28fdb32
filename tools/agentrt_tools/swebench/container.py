"""Commands of an instance in its image, through docker or podman."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from agentrt_tools.command import MAX_OUTPUT_BYTES, CommandResult, run_command
from agentrt_tools.sandbox import PlainProcess
from agentrt_tools.swebench.instance import CONTAINER_WORKDIR
from agentrt_tools.swebench.place import LIMITS, Place
from agentrt_tools.swebench.repository import RepositoryError

#: Seconds that a command in a container has more than its own limit, to be ended from inside.
_GRACE_S = 5.0

#: How long an image may take to come.
_PULL_TIMEOUT_S = 1_800.0

_CONTROL_TIMEOUT_S = 120.0


class _Client(PlainProcess):
    """The client of a container engine is no command of an agent: it has our environment."""

    def environment(self, workspace: Path) -> dict[str, str]:
        """As it is."""
        return dict(os.environ)


class Container:
    """A running container.

    Args:
        client: command of the container engine, docker or podman.
        name: of the container.
    """

    workdir = CONTAINER_WORKDIR

    def __init__(self, client: str, name: str) -> None:
        self._client = client
        self._name = name

    async def run(
        self, command: str, timeout: float, environment: Mapping[str, str] = {}
    ) -> CommandResult:
        """See `Place`. A client that ends leaves its command; `timeout`, of the image, ends it."""
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        seconds = str(math.ceil(timeout))
        with anyio.fail_after(timeout + _GRACE_S):
            result = await run_command(
                [
                    *(self._client, "exec", f"--workdir={self.workdir}", *variables, self._name),
                    *("timeout", "--signal=KILL", seconds, "bash", "-c", command),
                ],
                sandbox=_Client(),
                workspace=Path.cwd(),
                output_limit=MAX_OUTPUT_BYTES,
                limits=LIMITS,
            )
        if result.exit_code in (124, 137):
            raise TimeoutError(f"over {seconds} s")
        return result

    async def put(self, name: str, text: str) -> str:
        """See `Place`."""
        inside = f"/tmp/{name}"
        with tempfile.TemporaryDirectory(prefix="agentrt-") as folder:
            path = Path(folder, name)
            await anyio.Path(path).write_text(text)
            await _control(self._client, "cp", str(path), f"{self._name}:{inside}")
        return inside


@asynccontextmanager
async def container(client: str, image: str) -> AsyncIterator[Place]:
    """A container of its own, removed when the block ends. It has no network.

    Raises:
        RepositoryError: it does not start.
    """
    name = f"agentrt-{uuid.uuid4().hex[:12]}"
    start = ("run", "--detach", "--rm", f"--name={name}", "--network=none")
    try:
        forever = ("--entrypoint=sleep", image, "infinity")
        await _control(client, *start, *forever, timeout=_PULL_TIMEOUT_S)
        yield Container(client, name)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(_call, client, "rm", "--force", name))


async def _control(client: str, *arguments: str, timeout: float = _CONTROL_TIMEOUT_S) -> None:
    call = partial(_call, client, *arguments, timeout=timeout)
    said = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    if said:
        raise RepositoryError(f"{client} {arguments[0]}: {said}")


def _call(client: str, *arguments: str, timeout: float = _CONTROL_TIMEOUT_S) -> str:
    """What a command of the engine complains of; empty if it has done what it should."""
    try:
        done = subprocess.run(
            [client, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""
