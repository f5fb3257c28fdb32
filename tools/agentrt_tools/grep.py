"""The tool `grep`."""

from __future__ import annotations

import anyio.to_thread

from agentrt import Context, tool
from agentrt_tools.command import run_command
from agentrt_tools.confine import inside
from agentrt_tools.sandbox import default_sandbox

MAX_MATCHES = 50
_MAX_LINE = 200
_READ_BYTES = 64 * 1024


@tool(timeout=30)
async def grep(ctx: Context, pattern: str, path: str = ".") -> str:
    """Search files for an extended regular expression.

    Args:
        pattern: an extended regular expression.
        path: file or directory to search, relative to the working directory.
    """
    target = inside(ctx.workspace, path).relative_to(ctx.workspace)
    # The program and not `re`: an expression that explodes must be stoppable.
    result = await run_command(
        ["grep", "-rnHIE", "--exclude-dir=.git", "-e", pattern, "--", str(target)],
        sandbox=await anyio.to_thread.run_sync(default_sandbox),
        workspace=ctx.workspace,
        output_limit=_READ_BYTES,
    )
    lines = result.output.splitlines()
    if result.exit_code > 1 and not result.stopped:
        raise ValueError(" ".join(lines) or f"grep ended with exit code {result.exit_code}")
    if not lines:
        return f"no match for {pattern!r} in {path}"
    shown = [_shorten(line.removeprefix("./")) for line in lines[:MAX_MATCHES]]
    if len(lines) > MAX_MATCHES or result.stopped:
        shown.append(f"[cut: the first {MAX_MATCHES} matches shown]")
    return "\n".join(shown)


def _shorten(line: str) -> str:
    return line if len(line) <= _MAX_LINE else line[:_MAX_LINE] + "…"
