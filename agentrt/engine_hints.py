"""Tells an engine that understands it what its programs do between their requests."""

from __future__ import annotations

import logging

import anyio

from agentrt.client import EngineClient
from agentrt.endpoint import Endpoint
from agentrt.errors import EngineError
from agentrt.program import ToolOutcome
from agentrt_engine.wire.hints import MAX_NAME, Hint, HintKind, HintOutcome

#: A hint that takes longer is given up, seconds: no program waits for it.
PATIENCE_S = 2.0

_log = logging.getLogger(__name__)


class EngineHints:
    """Hints of one program; without an agentrt engine they go nowhere.

    A hint is never worth a failure: what goes wrong is logged and forgotten.
    """

    def __init__(self, client: EngineClient, endpoint: Endpoint, program_id: str) -> None:
        self._client = client
        self._understood = endpoint.info is not None
        self._program_id = program_id

    async def tool_started(
        self, tool: str, call_id: str, signature: str = ""
    ) -> HintOutcome | None:
        """The program waits for a tool from now on; returns what the engine makes of it.

        Args:
            signature: the call's arguments in short.
        """
        return await self._send(
            Hint(
                self._program_id,
                HintKind.TOOL_STARTED,
                tool=tool[:MAX_NAME],
                call_id=call_id,
                signature=signature or None,
            )
        )

    async def tool_finished(self, tool: str, call_id: str, outcome: ToolOutcome) -> None:
        """A tool call is over."""
        # For the engine a call that never ran has failed.
        said = ToolOutcome.FAILED if outcome is ToolOutcome.REJECTED else outcome
        await self._send(
            Hint(
                self._program_id,
                HintKind.TOOL_FINISHED,
                tool=tool[:MAX_NAME],
                call_id=call_id,
                outcome=said.value,
            )
        )

    async def ended(self) -> None:
        """The program has no more turns, however it ended."""
        with anyio.CancelScope(shield=True):
            await self._send(Hint(self._program_id, HintKind.ENDED))

    async def _send(self, hint: Hint) -> HintOutcome | None:
        if not self._understood:
            return None
        with anyio.move_on_after(PATIENCE_S) as scope:
            try:
                return await self._client.hint(hint)
            except EngineError as error:
                _log.debug("hint %s of program %s: %s", hint.kind, hint.program_id, error)
        if scope.cancelled_caught:
            _log.debug("hint %s of program %s: no answer in time", hint.kind, hint.program_id)
        return None
