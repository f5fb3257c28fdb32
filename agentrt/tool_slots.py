"""How many calls of a tool run at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from agentrt.tool import Tool


class ToolSlots:
    """The limits of all tools, over all programs of a runtime. Who comes first runs first."""

    def __init__(self) -> None:
        self._limiters: dict[Callable[..., Any], anyio.CapacityLimiter] = {}

    @asynccontextmanager
    async def slot(self, tool: Tool) -> AsyncIterator[None]:
        """Wait until the tool has room for another call, and hold that room."""
        if tool.concurrency is None:
            yield
            return
        limiter = self._limiters.get(tool.function)
        if limiter is None:
            limiter = self._limiters[tool.function] = anyio.CapacityLimiter(tool.concurrency)
        call = object()  # a task may hold several: a tool may run a program that calls tools
        await limiter.acquire_on_behalf_of(call)
        try:
            yield
        finally:
            limiter.release_on_behalf_of(call)
