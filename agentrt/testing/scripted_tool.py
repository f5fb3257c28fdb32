"""A tool that takes as long and returns what a test says, wherever an agent calls it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from agentrt.heartbeat import beat
from agentrt.tool import Tool


@dataclass(frozen=True, slots=True)
class Takes:
    """How one call goes.

    Attributes:
        seconds: that it takes, with signs of life if the tool has a heartbeat; `math.inf` for one
            that never ends and gives none.
        returns: what the tool returns then.
        raises: what it raises instead.
    """

    seconds: float
    returns: Any = ""
    raises: Exception | None = None


@dataclass(slots=True)
class ScriptedTool:
    """What a scripted tool was called with, and what it will do.

    Attributes:
        calls: arguments of every call so far, validated by the schema of the real tool.
        left: calls that are still to come.
    """

    tool: Tool
    left: list[Takes]
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    _unexpected: int = 0

    async def call(self, **arguments: Any) -> Any:
        """Stands in for the tool's function."""
        names = self.tool.signature.names
        self.calls.append({name: arguments[name] for name in names if name in arguments})
        if not self.left:
            self._unexpected += 1
            raise AssertionError(f"{self.tool.name} was called more often than the script says")
        takes = self.left.pop(0)
        await self._work(takes.seconds)
        if takes.raises is not None:
            raise takes.raises
        return takes.returns

    async def _work(self, seconds: float) -> None:
        if math.isinf(seconds):
            await anyio.sleep_forever()
        limit = self.tool.heartbeat_timeout
        pause = math.inf if limit is None else limit / 2
        ends = anyio.current_time() + seconds
        while anyio.current_time() + pause < ends:
            await anyio.sleep(pause)
            beat()
        await anyio.sleep_until(ends)

    def check(self) -> None:
        """Whether it was called as often as it should.

        Raises:
            AssertionError: it was not.
        """
        if self._unexpected:
            raise AssertionError(
                f"{self.tool.name} was called {len(self.calls)} times, "
                f"{self._unexpected} times more often than the script says"
            )
        if self.left:
            raise AssertionError(f"{self.tool.name} was not called for {self.left}")


@contextmanager
def scripted_tool(tool: Tool, *calls: Takes) -> Iterator[ScriptedTool]:
    """In the block a tool does what the script says, in every agent that has it.

    Arguments are checked against the real tool's schema, and all its limits hold.

    Raises:
        AssertionError: at the end of the block, if it was called more or less often.
    """
    script = ScriptedTool(tool, list(calls))
    original = tool.function
    # A tool is frozen; for the time of the block it is another one.
    object.__setattr__(tool, "function", script.call)
    try:
        yield script
    finally:
        object.__setattr__(tool, "function", original)
    script.check()
