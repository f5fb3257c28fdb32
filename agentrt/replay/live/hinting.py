"""Tells an engine what its programs do, without anybody waiting for it."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup

from agentrt.replay.live.arrived import Arrived
from agentrt.replay.live.engine import LiveEngine
from agentrt.replay.live.run import HintMode, LiveRun
from agentrt_engine.wire.hints import MAX_NAME, Hint, HintKind


class Hinting:
    """Sends the hints of one run.

    Args:
        mode: None: of tools where the engine has our plug-in, else none.
        group: in which they are sent.
        result: counts them.
    """

    def __init__(
        self, engine: LiveEngine, mode: HintMode | None, group: TaskGroup, result: LiveRun
    ) -> None:
        if mode is None:
            mode = HintMode.NONE if engine.facts.info is None else HintMode.TOOLS
        self._engine = engine
        self._mode = mode
        self._group = group
        self._result = result
        # Hints of one program go one after the other, in order.
        self._locks: dict[Arrived, anyio.Lock] = {}

    def tool_started(self, program: Arrived, tool: str) -> None:
        """The program waits for a tool from now on."""
        if self._mode is HintMode.TOOLS:
            self._send(program, Hint(program.wire_id, HintKind.TOOL_STARTED, tool=tool[:MAX_NAME]))

    def tool_finished(self, program: Arrived, tool: str) -> None:
        """Its next turn is asked for."""
        if self._mode is HintMode.TOOLS:
            self._send(program, Hint(program.wire_id, HintKind.TOOL_FINISHED, tool=tool[:MAX_NAME]))

    def ended(self, program: Arrived) -> None:
        """It has no more turns."""
        if self._mode is not HintMode.NONE:
            self._send(program, Hint(program.wire_id, HintKind.ENDED))

    def _send(self, program: Arrived, hint: Hint) -> None:
        lock = self._locks.setdefault(program, anyio.Lock())

        async def send() -> None:
            async with lock:
                self._result.hints += 1
                if not await self._engine.hint(hint):
                    self._result.refused_hints += 1
            if hint.kind is HintKind.ENDED:
                del self._locks[program]

        self._group.start_soon(send)
