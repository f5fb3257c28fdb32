"""One tool call within its limits: attempts, three timeouts, pauses between attempts."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio

from agentrt.abandonable import run_abandonable
from agentrt.errors import EngineError
from agentrt.heartbeat import Heartbeat

if TYPE_CHECKING:
    from agentrt.tool import Tool

#: From 0 up to 1; where in its range a pause lies.
Chance = Callable[[], float]


class TimedOut(TimeoutError):
    """A limit of time ended a call or an attempt; says which."""


class Attempts:
    """Calls a tool until it succeeds or its limits are reached.

    Attributes:
        made: attempts so far.
    """

    def __init__(self, tool: Tool, *, chance: Chance = random.random) -> None:
        self.made = 0
        self._tool = tool
        self._chance = chance

    async def run(self, keywords: dict[str, Any]) -> Any:
        """What the tool returned.

        Args:
            keywords: validated arguments.

        Raises:
            TimedOut: time was up.
            Exception: what the last attempt raised.
        """
        tool = self._tool
        with anyio.move_on_after(tool.total_timeout):
            for self.made in count(1):
                try:
                    return await self._once(keywords)
                except EngineError:
                    raise
                except Exception as error:
                    if tool.retry is None or not tool.retry.follows(self.made, error):
                        raise
                await anyio.sleep(tool.retry.pause_s(self.made, self._chance()))
        raise TimedOut(f"it did not finish within {tool.total_timeout:g} s in all")

    async def _once(self, keywords: dict[str, Any]) -> Any:
        tool = self._tool
        heart = Heartbeat(tool.heartbeat_timeout)
        with anyio.move_on_after(tool.timeout) as attempt, heart.watch():
            return await _invoke(tool, keywords)
        if attempt.cancelled_caught:
            raise TimedOut(f"it did not finish within {tool.timeout:g} s")
        raise TimedOut(f"it gave no sign of life for {tool.heartbeat_timeout:g} s")


def _invoke(tool: Tool, keywords: dict[str, Any]) -> Awaitable[Any]:
    if tool.is_async:
        coroutine: Awaitable[Any] = tool.function(**keywords)
        return coroutine
    return run_abandonable(partial(tool.function, **keywords), name=f"tool {tool.name}")
