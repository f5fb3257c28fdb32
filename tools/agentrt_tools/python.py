"""The tool `python`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from pydantic import Field

from agentrt import Context, Tool, tool
from agentrt_tools.bash import SHOWN_BYTES
from agentrt_tools.command import DEFAULT_LIMITS, run_command
from agentrt_tools.limits import Limits
from agentrt_tools.sandbox import Allowed, default_sandbox

#: Longest program; one that is longer belongs in a file.
MAX_CHARACTERS = 20_000

#: The interpreter that runs this, without its packages. Wherever it lies, it can be read.
_INTERPRETER = os.path.realpath(sys.executable)


def python_tool(
    *, timeout: float = 30.0, limits: Limits = DEFAULT_LIMITS, network: bool = False
) -> Tool:
    """A `python` with limits of its own.

    Args:
        timeout: seconds for a program.
        limits: what it may use.
        network: whether it reaches the network.
    """

    @tool(timeout=timeout)
    async def python(ctx: Context, code: Annotated[str, Field(max_length=MAX_CHARACTERS)]) -> str:
        """Run a Python program in the working directory and return what it prints.

        Each call is a program of its own: print what you want to see, and keep what the next call
        needs in files.

        Args:
            code: the program.
        """
        result = await run_command(
            [_INTERPRETER, "-I", "-B", "-u", "-c", code],
            sandbox=await anyio.to_thread.run_sync(default_sandbox),
            workspace=ctx.workspace,
            output_limit=SHOWN_BYTES,
            limits=limits,
            allowed=Allowed(network=network, readable=(Path(sys.base_prefix),)),
        )
        return result.text()

    return python


python = python_tool()
