"""Tools of MCP servers, through the official `mcp` package (extra `mcp`).

@agent
async def helper(ctx: Context, question: str) -> str:
    \"\"\"You help.\"\"\"
    async with mcp_tools(["uvx", "mcp-server-time"]) as tools:
        return await ctx.loop(question, tools=tools)
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import httpx2

try:
    from jsonschema import Draft202012Validator
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client
    from mcp.server import MCPServer
    from mcp_types import CallToolResult, TextContent
    from mcp_types import Tool as ServerTool
except ModuleNotFoundError as error:
    raise ImportError(
        "tools of MCP servers need the extra mcp: pip install 'agentrt[mcp]'"
    ) from error
from pydantic import AfterValidator, TypeAdapter

from agentrt import AgentrtError, Tool
from agentrt.errors import DefinitionError
from agentrt.schema import Schema, inline
from agentrt.tool import DEFAULT_TIMEOUT_S
from agentrt_tools.foreign_schema import plain
from agentrt_tools.foreign_tool import foreign_tool

#: Pages of a list of tools that are read.
_MOST_PAGES = 100

#: Characters that names of tools may not have.
_UNUSABLE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64


#: A server may be silent for long in a stream that it holds open.
_HTTP_TIMEOUT = httpx2.Timeout(30.0, read=300.0)


class McpServerUnusable(AgentrtError):
    """An MCP server cannot be reached, or does not speak the protocol."""


class McpToolFailed(Exception):
    """A tool of an MCP server says that it failed."""


@asynccontextmanager
async def mcp_tools(
    server: str | Sequence[str] | MCPServer,
    *,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
    prefix: str = "",
    timeout: float | None = DEFAULT_TIMEOUT_S,
    start_timeout: float = 60.0,
) -> AsyncIterator[tuple[Tool, ...]]:
    """The tools of a server, for the time of a block.

    What the server says it only reads may be repeated after a crash; all else counts as a write.

    Args:
        server: a URL (streamable HTTP), a command that is started and talked to over its standard
            input and output, or a server of this process.
        env: further variables of the command.
        headers: of every request to a URL, for a key.
        only: names of the tools that are wanted; all by default.
        prefix: put before the names, where tools of several servers would be called alike.
        timeout: seconds for a call.
        start_timeout: seconds until the server has said what tools it has.

    Raises:
        McpServerUnusable: it cannot be started or reached, or does not answer.
        DefinitionError: `env` goes with a command and `headers` with a URL; or the server lacks a
            tool of `only`, or one has arguments without a bounded form.
    """
    name, target = _target(server, env, headers)
    client = Client(target)
    # Around the whole block, because the client leaves scopes of its own open in it.
    with anyio.move_on_after(start_timeout) as start:
        try:
            await client.__aenter__()
        except (OSError, MCPError, ExceptionGroup) as error:
            raise _unusable(name, _reason(error)) from error
        try:
            offered = {tool.name: tool for tool in await _list(client)}
            start.deadline = math.inf
            for wanted in only or ():
                if wanted not in offered:
                    raise DefinitionError(
                        f"the MCP server {name} has no tool {wanted!r}; it has {', '.join(offered)}"
                    )
            chosen = [offered[wanted] for wanted in only] if only is not None else offered.values()
            yield tuple(_tool(client, each, prefix, timeout) for each in chosen)
        finally:
            await client.__aexit__(None, None, None)
    if start.cancelled_caught:
        raise _unusable(name, f"it gave no answer within {start_timeout:g} s")


def _target(
    server: str | Sequence[str] | MCPServer,
    env: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
) -> tuple[str, Any]:
    """The server for messages, and for the client."""
    is_url, is_command = isinstance(server, str), not isinstance(server, str | MCPServer)
    if headers and not is_url:
        raise DefinitionError("mcp_tools(headers=…): expected a URL as the server")
    if env and not is_command:
        raise DefinitionError("mcp_tools(env=…): expected a command as the server")
    if isinstance(server, str):
        return server, _with_headers(server, headers) if headers else server
    if isinstance(server, MCPServer):
        return type(server).__name__, server
    if not server:
        raise DefinitionError("mcp_tools([]): expected a command")
    command, *arguments = server
    parameters = StdioServerParameters(command=command, args=arguments, env=dict(env or {}))
    return " ".join(server), parameters


@asynccontextmanager
async def _with_headers(url: str, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    """The usual transport, over a connection with headers of its own."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_HTTP_TIMEOUT) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


async def _list(client: Client) -> list[ServerTool]:
    tools: list[ServerTool] = []
    cursor: str | None = None
    for _page in range(_MOST_PAGES):
        found = await client.list_tools(cursor=cursor)
        tools += found.tools
        cursor = found.next_cursor
        if cursor is None:
            break
    return tools


def _tool(client: Client, offered: ServerTool, prefix: str, timeout: float | None) -> Tool:
    name = _UNUSABLE.sub("_", prefix + offered.name)[:_LONGEST_NAME]
    only_reads = offered.annotations is not None and offered.annotations.read_only_hint is True
    try:
        schema = inline(plain(offered.input_schema))
        schema.setdefault("properties", {})
        return foreign_tool(
            name,
            " ".join((offered.description or offered.title or name).split()),
            schema,
            _caller(client, offered.name),
            validator=_validator(offered.input_schema),
            timeout=timeout,
            effect="read" if only_reads else "write",
        )
    except DefinitionError as error:
        raise DefinitionError(f"MCP tool {offered.name}: {error}") from error


def _caller(client: Client, name: str) -> Callable[..., Coroutine[Any, Any, str]]:
    async def call(**arguments: Any) -> str:
        result = await client.call_tool(name, arguments)
        assert isinstance(result, CallToolResult)
        text = _text(result)
        if result.is_error:
            raise McpToolFailed(text)
        return text

    return call


def _text(result: CallToolResult) -> str:
    """Text as it is; of everything else what it is."""
    parts = [
        block.text if isinstance(block, TextContent) else _described(block)
        for block in result.content
    ]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def _described(block: Any) -> str:
    resource = getattr(block, "resource", block)
    if text := getattr(resource, "text", None):
        return str(text)
    data = getattr(resource, "data", None) or getattr(resource, "blob", None)
    facts = [
        block.type,
        getattr(resource, "mime_type", None),
        getattr(resource, "uri", None),
        f"{len(base64.b64decode(data)):,} bytes" if data else None,
    ]
    return f"[{', '.join(str(fact) for fact in facts if fact)}]"


def _validator(schema: Schema) -> TypeAdapter[dict[str, Any]]:
    """Holds arguments against the server's own schema."""
    checker = Draft202012Validator(schema)

    def check(arguments: dict[str, Any]) -> dict[str, Any]:
        for error in checker.iter_errors(arguments):
            where = ".".join(map(str, error.path))
            raise ValueError(f"{where}: {error.message}" if where else error.message)
        return arguments

    return TypeAdapter(Annotated[dict[str, Any], AfterValidator(check)])


def _unusable(name: str, reason: str) -> McpServerUnusable:
    return McpServerUnusable(
        f"the MCP server {name} cannot be used: {reason}",
        hint="start its command by hand, or look at its log",
    )


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
