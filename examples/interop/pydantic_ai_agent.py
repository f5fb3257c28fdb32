"""An agent of Pydantic AI as a program of an agentrt engine, its tools told by hints.

    python examples/interop/pydantic_ai_agent.py http://127.0.0.1:30000

The program ends with the block of `attach`, and the engine frees what it held.
"""

from __future__ import annotations

import asyncio
import os
import sys

from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agentrt.interop import attach
from agentrt.interop.pydantic_ai import EngineHooks


async def weather(city: str) -> str:
    """The weather in a city."""
    await asyncio.sleep(0.01)
    return f"sunny in {city}"


async def main(url: str) -> str:
    """Run the agent once."""
    key = os.environ.get("AGENTRT_API_KEY")
    async with attach(url, api_key=key) as program:
        client = AsyncOpenAI(
            base_url=program.base_url, api_key=key or "none", default_headers=program.headers
        )
        model = (await client.models.list()).data[0].id
        agent = Agent(
            OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client)),
            instructions="You tell the weather.",
            tools=[weather],
            capabilities=[EngineHooks(program)],
        )
        result = await agent.run("What is the weather in Paris?")
    return str(result.output)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))  # noqa: T201 - an example
