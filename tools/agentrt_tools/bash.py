"""The tool `bash`."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from pydantic import Field

from agentrt import Context, Tool, tool
from agentrt_tools.command import DEFAULT_LIMITS, run_command
from agentrt_tools.limits import Limits
from agentrt_tools.sandbox import Allowed, default_sandbox

#: Bytes of output shown; with the notes below still inside the limit of a tool's result.
SHOWN_BYTES = 3_600

#: Longest command line. Longer ones belong in a file, and small models would not end them.
MAX_CHARACTERS = 600


def bash_tool(
    *, timeout: float = 30.0, limits: Limits = DEFAULT_LIMITS, network: bool = False
) -> Tool:
    """A `bash` with limits of its own.

    Args:
        timeout: seconds for a command.
        limits: what it may use.
        network: whether it reaches the network.
    """

    @tool(timeout=timeout)
    async def bash(ctx: Context, command: Annotated[str, Field(max_length=MAX_CHARACTERS)]) -> str:
        """Run a shell command in the working directory and return its output.

        Args:
            command: a bash command line.
        """
        result = await run_command(
            ["bash", "-c", command],
            sandbox=await anyio.to_thread.run_sync(default_sandbox),
            workspace=ctx.workspace,
            output_limit=SHOWN_BYTES,
            limits=limits,
            allowed=Allowed(network=network),
        )
        return result.text()

    return bash


bash = bash_tool()
