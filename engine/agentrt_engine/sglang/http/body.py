"""Reads the body of a request that the application behind reads again."""

from __future__ import annotations

from agentrt_engine.sglang.http.scope import Message, Receive


async def read_body(receive: Receive) -> tuple[bytes, Receive]:
    """A whole body, and a channel that gives what was read once more."""
    chunks: list[bytes] = []
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return b"".join(chunks), again
