"""Hints from the OpenAI Agents SDK (`openai-agents`).

async with attach(url) as program:
    client = AsyncOpenAI(base_url=program.base_url, default_headers=program.headers, …)
    await Runner.run(agent, "…", hooks=EngineHooks(program), …)
"""

from __future__ import annotations

from typing import Any

from agents import Agent, RunContextWrapper, RunHooks, Tool

from agentrt.interop.attached import AttachedProgram


class EngineHooks(RunHooks[Any]):
    """Tells the engine when a run's tools start and end. One for each run.

    A function of yours that fails is shown to the model by the SDK itself, so the engine is told
    that it finished.
    """

    def __init__(self, program: AttachedProgram) -> None:
        self._program = program

    async def on_tool_start(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool
    ) -> None:
        """Called by the SDK."""
        await self._program.tool_started(tool.name, _call_id(context, tool))

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object
    ) -> None:
        """Called by the SDK."""
        await self._program.tool_finished(tool.name, _call_id(context, tool))


def _call_id(context: RunContextWrapper[Any], tool: Tool) -> str:
    """Of the call; tools that are no functions have none, and run one at a time."""
    return str(getattr(context, "tool_call_id", tool.name))
