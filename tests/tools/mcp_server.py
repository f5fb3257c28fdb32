"""An MCP server for tests, over its standard input and output."""

from __future__ import annotations

import sys
from typing import Annotated

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

server = MCPServer("tests")


class Point(BaseModel):
    """A place."""

    x: int
    y: int | None = None


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: Annotated[int, Field(le=100)] = 1) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def move(to: Point, names: list[str]) -> dict[str, int]:
    """Move there."""
    return {"x": to.x, "names": len(names)}


@server.tool(name="fails.always")
def fails() -> str:
    """Fail."""
    raise ToolError("no luck")


@server.tool()
def draw() -> Image:
    """Draw."""
    return Image(data=b"12345", format="png")


@server.tool()
async def wait(file: str) -> str:
    """Wait for a long time, and say so in a file."""
    await anyio.Path(file).write_text("began")
    try:
        await anyio.sleep(60)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(file).write_text("ended")
    return "done"


if __name__ == "__main__":
    sys.stderr.write("the server starts\n")
    server.run()
