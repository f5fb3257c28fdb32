"""Hints from Pydantic AI (`pydantic-ai`).

async with attach(url) as program:
    client = AsyncOpenAI(base_url=program.base_url, default_headers=program.headers, …)
    model = OpenAIChatModel("…", provider=OpenAIProvider(openai_client=client))
    agent = Agent(model, capabilities=[EngineHooks(program)])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import ToolDefinition

from agentrt.interop.attached import AttachedProgram


@dataclass
class EngineHooks(AbstractCapability[Any]):
    """Tells the engine when tools start and end. One for each run."""

    program: AttachedProgram

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: Any,
        handler: Any,
    ) -> Any:
        """Called by Pydantic AI."""
        await self.program.tool_started(call.tool_name, call.tool_call_id)
        failed = True
        try:
            result = await handler(args)
            failed = False
        finally:
            await self.program.tool_finished(call.tool_name, call.tool_call_id, failed=failed)
        return result
