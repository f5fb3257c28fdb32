"""Tells an engine what its programs do, without anybody waiting for it."""

from __future__ import annotations

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

    def tool_started(self, program: Arrived, tool: str) -> None:
        """The program waits for a tool from now on."""
        if self._mode is HintMode.TOOLS:
            self._send(program, Hint(program.wire_id, HintKind.TOOL_STARTED, tool=tool[:MAX_NAME]))

    def tool_finished(self, program: Arrived, tool: str) -> None:
        """Its next turn is asked for."""
        if self._mode is HintMode.TOOLS:
            self._send(program, Hint(program.wire_id, HintKind.TOOL_FINISHED, tool=tool[:MAX_NAME]))

    def failed(self, program: Arrived) -> None:
        """It ends here. The last turn of one that does not says so by itself."""
        if self._mode is HintMode.TOOLS:
            self._send(program, Hint(program.wire_id, HintKind.ENDED))

    def _send(self, program: Arrived, hint: Hint) -> None:
        async def send() -> None:
            async with program.hinting:
                self._result.hints += 1
                if not await self._engine.hint(hint):
                    self._result.refused_hints += 1

        self._group.start_soon(send)
