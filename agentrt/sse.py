"""Server-sent events, as engines stream their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

_DONE = "[DONE]"


async def event_data(response: httpx2.Response) -> AsyncIterator[str]:
    """The data of each event, to the end of the answer; without the end mark of OpenAI."""
    async for line in response.aiter_lines():
        if line.startswith("data:") and (data := line[5:].strip()) != _DONE:
            yield data
