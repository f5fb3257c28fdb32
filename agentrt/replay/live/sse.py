"""Server-sent events, as engines stream their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from agentrt.replay.live.wire import RequestFailed
from agentrt.text import excerpt

_DONE = "[DONE]"


async def events(response: httpx2.Response) -> AsyncIterator[str]:
    """The data of each event, to the end of the answer; without the end mark of OpenAI.

    Raises:
        RequestFailed: the engine refused the request.
    """
    if response.status_code != httpx2.codes.OK:
        await response.aread()
        raise RequestFailed(f"HTTP {response.status_code}: {excerpt(response.text, 300)}")
    async for line in response.aiter_lines():
        if line.startswith("data:") and (data := line[5:].strip()) != _DONE:
            yield data
