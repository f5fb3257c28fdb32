"""An agent of the OpenAI Agents SDK as a program of an agentrt engine, its tools told by hints.

    python examples/interop/openai_agents_sdk.py http://127.0.0.1:30000

The program ends with the block of `attach`, and the engine frees what it held.
"""

from __future__ import annotations

import asyncio
import os
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from agentrt.interop import attach
from agentrt.interop.openai_agents import EngineHooks


@function_tool
async def weather(city: str) -> str:
    """The weather in a city."""
    await asyncio.sleep(0.01)
    return f"sunny in {city}"


async def main(url: str) -> str:
    """Run the agent once."""
    key = os.environ.get("AGENTRT_API_KEY")
    set_tracing_disabled(True)  # its traces go to OpenAI
    async with attach(url, api_key=key) as program:
        client = AsyncOpenAI(
            base_url=program.base_url, api_key=key or "none", default_headers=program.headers
        )
        model = (await client.models.list()).data[0].id
        agent = Agent(
            name="reporter",
            instructions="You tell the weather.",
            model=OpenAIChatCompletionsModel(model=model, openai_client=client),
            tools=[weather],
        )
        result = await Runner.run(
            agent, "What is the weather in Paris?", hooks=EngineHooks(program)
        )
    return str(result.final_output)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))  # noqa: T201 - an example
