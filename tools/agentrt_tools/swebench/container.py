"""Commands of an instance in its image, through docker or podman."""

from __future__ import annotations

import logging
import math
import os
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from agentrt_tools.command import MAX_OUTPUT_BYTES, CommandResult, run_command
from agentrt_tools.sandbox import PlainProcess
from agentrt_tools.swebench.child import RepositoryError, run_child
from agentrt_tools.swebench.instance import CONTAINER_WORKDIR
from agentrt_tools.swebench.place import LIMITS, Place

#: Seconds that a command in a container has more than its own limit, to be ended from inside.
_GRACE_S = 5.0

#: Exit code of what `timeout` has killed.
_KILLED = 128 + signal.SIGKILL

#: How long an image may take to come.
_PULL_TIMEOUT_S = 1_800.0

_log = logging.getLogger(__name__)


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
        began = anyio.current_time()
        result = await run_command(
            [
                *(self._client, "exec", f"--workdir={self.workdir}", *variables, self._name),
                *("timeout", "--signal=KILL", str(math.ceil(timeout)), "bash", "-c", command),
            ],
            sandbox=_Client(),
            workspace=Path.cwd(),
            output_limit=MAX_OUTPUT_BYTES,
            limits=LIMITS,
            timeout=timeout + _GRACE_S,
        )
        # A command that is killed for another reason ends alike, but sooner.
        if result.exit_code == _KILLED and anyio.current_time() - began >= timeout:
            return replace(result, stopped=f"it took longer than {timeout:g} s", timed_out=True)
        return result

    async def put(self, name: str, text: str) -> str:
        """See `Place`."""
        inside = f"/tmp/{name}"
        with tempfile.TemporaryDirectory(prefix="agentrt-") as folder:
            path = Path(folder, name)
            await anyio.Path(path).write_text(text)
            copy = [self._client, "cp", str(path), f"{self._name}:{inside}"]
            await run_child(copy, f"{self._client} cp")
        return inside


@asynccontextmanager
async def container(client: str, image: str, *, network: bool) -> AsyncIterator[Place]:
    """A container of its own, removed when the block ends.

    Args:
        network: whether it has the network that the container engine gives.

    Raises:
        RepositoryError: it does not start.
    """
    name = f"agentrt-{uuid.uuid4().hex[:12]}"
    limits = (f"--memory={LIMITS.memory_mb}m", f"--pids-limit={LIMITS.processes}")
    options = ("--detach", "--rm", f"--name={name}", *limits, "--entrypoint=sleep")
    unconnected = () if network else ("--network=none",)
    start = [client, "run", *options, *unconnected, image, "infinity"]
    try:
        await run_child(start, f"{client} run", timeout=_PULL_TIMEOUT_S)
        yield Container(client, name)
    finally:
        with anyio.CancelScope(shield=True):
            try:
                await run_child([client, "rm", "--force", name], f"{client} rm", timeout=60.0)
            except RepositoryError as error:
                _log.debug("%s", error)  # there may be none
