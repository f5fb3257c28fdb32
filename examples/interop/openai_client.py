"""A loop of your own over the `openai` client, as one program of an agentrt engine.

    python examples/interop/openai_client.py http://127.0.0.1:30000

One header says which program a request belongs to. The engine infers the rest: a tool starts when
the model asks for it, and ends with the next request.
"""

from __future__ import annotations

import json
import os
import sys
import uuid

from openai import OpenAI

HEADER = "X-Agentrt-Program-ID"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def main(url: str) -> str:
    """Ask, call the tools that the model asks for, and ask again."""
    client = OpenAI(
        base_url=f"{url}/v1",
        api_key=os.environ.get("AGENTRT_API_KEY", "none"),
        default_headers={HEADER: uuid.uuid4().hex},
    )
    model = client.models.list().data[0].id
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    while True:
        reply = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            result = weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


if __name__ == "__main__":
    print(main(sys.argv[1]))  # noqa: T201 - an example
