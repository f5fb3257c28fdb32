"""agentrt: declare agents as Python functions and run them as programs on an engine.

    from agentrt import Context, agent, connect, tool

    @tool(timeout=30)
    async def count_lines(ctx: Context, path: str) -> int:
        \"\"\"Count the lines of a file of the workspace.\"\"\"
        return len((ctx.workspace / path).read_text().splitlines())

    @agent(tools=[count_lines])
    async def counter(ctx: Context, question: str) -> str:
        \"\"\"You answer questions about files.\"\"\"
        return await ctx.loop(question)

    async with connect() as runtime:
        result = await runtime.run(counter, "How long is README.md?")

`connect()` finds or starts an engine; errors are in `agentrt.errors`. Importing this package
loads neither torch nor SGLang.
"""

from __future__ import annotations

import sys as _sys

from agentrt.python_version import require_supported_python as _require_supported_python

_require_supported_python((_sys.version_info.major, _sys.version_info.minor))

from agentrt.agent import Agent, agent  # noqa: E402 - after the check of the interpreter
from agentrt.budget import Budget  # noqa: E402
from agentrt.connect import connect  # noqa: E402
from agentrt.context import Context  # noqa: E402
from agentrt.embedded import EngineSettings  # noqa: E402
from agentrt.errors import AgentrtError  # noqa: E402
from agentrt.events import (  # noqa: E402
    Event,
    EventStream,
    ProgramBegan,
    ProgramEnded,
    TextDelta,
    ToolBegan,
    ToolEnded,
    TurnBegan,
    TurnEnded,
)
from agentrt.journal import Durability, Journal  # noqa: E402
from agentrt.program import Program, ProgramState, ToolCall, ToolOutcome, Turn  # noqa: E402
from agentrt.retry import Retry  # noqa: E402
from agentrt.running import Running  # noqa: E402
from agentrt.runtime import ProgramResult, Runtime  # noqa: E402
from agentrt.signature import IdempotencyKey  # noqa: E402
from agentrt.tool import Tool, tool  # noqa: E402
from agentrt.version import __version__  # noqa: E402

__all__ = [
    "Agent",
    "AgentrtError",
    "Budget",
    "Context",
    "Durability",
    "EngineSettings",
    "Event",
    "EventStream",
    "IdempotencyKey",
    "Journal",
    "Program",
    "ProgramBegan",
    "ProgramEnded",
    "ProgramResult",
    "ProgramState",
    "Retry",
    "Running",
    "Runtime",
    "TextDelta",
    "Tool",
    "ToolBegan",
    "ToolCall",
    "ToolEnded",
    "ToolOutcome",
    "Turn",
    "TurnBegan",
    "TurnEnded",
    "__version__",
    "agent",
    "connect",
    "tool",
]
