"""The events of an answer that an engine may refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from agentrt.replay.live.wire import RequestFailed
from agentrt.sse import event_data
from agentrt.text import excerpt


async def events(response: httpx2.Response) -> AsyncIterator[str]:
    """The data of each event, to the end of the answer.

    Raises:
        RequestFailed: the engine refused the request.
    """
    if response.status_code != httpx2.codes.OK:
        await response.aread()
        raise RequestFailed(f"HTTP {response.status_code}: {excerpt(response.text, 300)}")
    async for data in event_data(response):
        yield data
