"""Tools of MCP servers: a real one over standard input and output, and one in the process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server import MCPServer
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentrt import Context, Tool, ToolOutcome, agent
from agentrt.errors import DefinitionError
from agentrt.testing import ScriptedModel, Step, answer, call
from agentrt_tools.mcp import McpServerUnusable, mcp_tools
from tests.support.loopback_app import served
from tests.tools import mcp_server
from tests.tools.test_command import wait_until_gone


class Tree(BaseModel):
    """Something without end."""

    name: str
    branches: list[Tree] = []


COMMAND = [sys.executable, str(Path(mcp_server.__file__))]


def use(
    *steps: Step, server: Any = mcp_server.server, **options: Any
) -> tuple[list[str], list[ToolOutcome], ScriptedModel]:
    """What the model is shown of its calls, with the tools of a server."""

    @agent
    async def helper(ctx: Context) -> str:
        """You help."""
        async with mcp_tools(server, **options) as tools:
            return await ctx.loop("Do it.", tools=tools)

    async def main() -> list[ToolOutcome]:
        async with model.connect() as runtime:
            program = (await runtime.run(helper)).program
        return [made.outcome for made in program.tool_calls]

    with ScriptedModel([*steps, answer("done")]) as model:
        outcomes = anyio.run(main)
    return [request.prompt for request in model.requests[1:]], outcomes, model


def tools_of(server: Any = mcp_server.server, **options: Any) -> dict[str, Tool]:
    async def main() -> Sequence[Tool]:
        async with mcp_tools(server, **options) as tools:
            return tools

    return {tool.name: tool for tool in anyio.run(main)}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the same server listens to whoever knows the key."""
    app = mcp_server.server.streamable_http_app()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"x-key") != b"sesame":
            await Response(status_code=401)(scope, receive, send)
        else:
            await app(scope, receive, send)

    with served(guarded) as address:
        yield f"{address}/mcp"


@pytest.mark.parametrize("way", ["stdio", "in process", "http"])
def test_a_model_calls_tools_of_a_server(way: str, url: str) -> None:
    server = {"stdio": COMMAND, "in process": mcp_server.server, "http": url}[way]
    options = {"headers": {"X-Key": "sesame"}} if way == "http" else {}
    shown, outcomes, model = use(
        call("add", a=2, b=3),
        call("move", to={"x": 7}, names=["a", "b"]),
        call("draw"),
        server=server,
        **options,
    )
    assert shown[0] == "5"
    assert '"x": 7' in shown[1] and '"names": 2' in shown[1]
    assert shown[2] == "[image, image/png, 5 bytes]"
    assert outcomes == [ToolOutcome.FINISHED] * 3
    listed = {each["function"]["name"] for each in model.requests[0].body["tools"]}
    assert listed == {"add", "move", "fails_always", "draw", "wait"}


def test_a_failure_of_the_server_is_one_of_the_tool() -> None:
    shown, outcomes, _ = use(call("fails_always"))
    assert "no luck" in shown[0]
    assert outcomes == [ToolOutcome.FAILED]


def test_arguments_are_held_against_the_servers_schema() -> None:
    shown, outcomes, _ = use(call("add", a=1, b=101), call("add", b=1), call("move", to=3))
    assert outcomes == [ToolOutcome.REJECTED] * 3
    assert "b: 101 is greater than the maximum of 100" in shown[0]
    assert "'a' is a required property" in shown[1]


def test_what_the_decoder_permits_is_bounded() -> None:
    tools = tools_of()
    assert tools["add"].call_schema["properties"]["a"]["maximum"] == 2**31 - 1
    assert tools["add"].call_schema["properties"]["b"]["maximum"] == 100
    assert tools["move"].call_schema["properties"]["names"]["maxItems"] == 8
    assert tools["move"].call_schema["properties"]["to"]["properties"].keys() == {"x", "y"}
    assert tools["add"].description == "Add two numbers."


def test_only_what_the_server_calls_reading_is_repeatable() -> None:
    tools = tools_of()
    assert tools["add"].is_repeatable
    assert not tools["move"].is_repeatable


def test_some_tools_under_other_names() -> None:
    tools = tools_of(only=["fails.always", "add"], prefix="test.")
    assert list(tools) == ["test_fails_always", "test_add"]
    with pytest.raises(DefinitionError, match="has no tool 'nothing'; it has add, move"):
        tools_of(only=["nothing"])


@pytest.mark.parametrize("options", [{"timeout": 0.3}, {}], ids=["its time is up", "cancelled"])
def test_a_call_that_is_ended_ends_at_the_server(tmp_path: Path, options: dict[str, Any]) -> None:
    file = tmp_path / "state"

    async def main() -> None:
        async with mcp_tools(COMMAND) as tools:
            wait = next(tool for tool in tools if tool.name == "wait")
            with anyio.move_on_after(0.3 if options else 1.0):
                await wait.function(file=str(file))
            with anyio.fail_after(10):
                while file.read_text() != "ended":  # noqa: ASYNC110 - of another process
                    await anyio.sleep(0.01)

    began = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (["/nowhere/to/be/found"], "the MCP server /nowhere/to/be/found cannot be used"),
        (["false"], "the MCP server false cannot be used"),
        ("http://127.0.0.1:9/mcp", "the MCP server http://127.0.0.1:9/mcp cannot be used"),
    ],
)
def test_a_server_that_cannot_be_used(server: Any, said: str) -> None:
    with pytest.raises(McpServerUnusable, match=said):
        tools_of(server)


def test_a_server_that_wants_a_key(url: str) -> None:
    with pytest.raises(McpServerUnusable, match=f"the MCP server {url} cannot be used"):
        tools_of(url)


def test_headers_are_for_urls_and_variables_for_commands() -> None:
    with pytest.raises(DefinitionError, match="expected a URL as the server"):
        tools_of(COMMAND, headers={"X-Key": "sesame"})
    with pytest.raises(DefinitionError, match="expected a command as the server"):
        tools_of("http://127.0.0.1:9/mcp", env={"A": "b"})


def test_no_command_is_refused() -> None:
    with pytest.raises(DefinitionError, match="expected a command"):
        tools_of([])


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    seconds = f"{4_000 + os.getpid()}"
    with pytest.raises(McpServerUnusable, match="it gave no answer within 1 s"):
        tools_of(["sleep", seconds], start_timeout=1)
    assert time.monotonic() - began < 15
    wait_until_gone(f"sleep\0{seconds}")


def test_a_block_may_take_longer_than_the_start() -> None:
    async def main() -> str:
        async with mcp_tools(mcp_server.server, start_timeout=0.5) as tools:
            await anyio.sleep(0.7)
            return str(await tools[0].function(a=1))

    assert anyio.run(main) == "2"


def test_a_schema_without_a_bounded_form_names_tool_and_place() -> None:
    server = MCPServer("trees")

    @server.tool()
    def plant(tree: Tree) -> str:
        """Plant a tree."""
        return tree.name

    with pytest.raises(DefinitionError, match="MCP tool plant: the type Tree contains itself"):
        tools_of(server)
