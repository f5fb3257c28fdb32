"""The tool `bash`."""

from __future__ import annotations

import anyio.to_thread

from agentrt import Context, tool
from agentrt_tools.command import MAX_OUTPUT_BYTES, run_command
from agentrt_tools.sandbox import default_sandbox

#: Bytes of output shown; with the notes below still inside the limit of a tool's result.
_SHOWN_BYTES = 3_600


@tool(timeout=30)
async def bash(ctx: Context, command: str) -> str:
    """Run a shell command in the working directory and return its output.

    Args:
        command: a bash command line.
    """
    result = await run_command(
        ["bash", "-c", command],
        sandbox=await anyio.to_thread.run_sync(default_sandbox),
        workspace=ctx.workspace,
        output_limit=_SHOWN_BYTES,
    )
    notes = [result.output.rstrip("\n")] if result.output else []
    if result.stopped:
        notes.append(f"[stopped: it wrote more than {MAX_OUTPUT_BYTES:,} bytes]")
    elif result.exit_code != 0:
        notes.append(f"[exit code {result.exit_code}]")
    return "\n".join(notes)
