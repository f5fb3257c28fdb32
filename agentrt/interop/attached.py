"""A program that some other framework runs, and what an engine is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from agentrt.client import EngineClient
from agentrt.engine_hints import EngineHints
from agentrt.program import ToolOutcome
from agentrt_engine.wire.hints import HINTS_EXPLICIT, HINTS_HEADER
from agentrt_engine.wire.identity import REQUEST_ID, ProgramTag

#: For what the engine says of itself; hints have a shorter limit of their own, seconds.
REQUEST_TIMEOUT_S = 10.0


class AttachedProgram:
    """One program of another framework.

    Attributes:
        program_id: by which the engine knows it.
        base_url: for an OpenAI client.
        headers: that all its requests to the engine must carry.
    """

    def __init__(
        self, program_id: str, base_url: str, parent_id: str | None, hints: EngineHints
    ) -> None:
        tag = ProgramTag(program_id, parent_id=parent_id)
        self.program_id = program_id
        self.base_url = base_url
        # A request's own id is the client's affair.
        self.headers = {
            name: value for name, value in tag.headers("").items() if name != REQUEST_ID
        } | {HINTS_HEADER: HINTS_EXPLICIT}
        self._hints = hints

    async def tool_started(self, tool: str, call_id: str) -> None:
        """A tool runs from now on; the engine keeps the program's KV for as long as it may take."""
        await self._hints.tool_started(tool, call_id)

    async def tool_finished(self, tool: str, call_id: str, *, failed: bool = False) -> None:
        """A tool call is over."""
        outcome = ToolOutcome.FAILED if failed else ToolOutcome.FINISHED
        await self._hints.tool_finished(tool, call_id, outcome)


@asynccontextmanager
async def attach(
    url: str,
    *,
    api_key: str | None = None,
    program_id: str | None = None,
    parent_id: str | None = None,
) -> AsyncIterator[AttachedProgram]:
    """A program begins; at the end of the block it has ended, and the engine frees what it held.

    Hints are never worth a failure: an engine that does not understand them is told nothing, and
    one that goes away is the concern of the program's next request.

    Args:
        url: where the engine listens.
        api_key: sent as a bearer token.
        program_id: a new one by default.
        parent_id: id of the program that started this one.

    Raises:
        EngineUnreachable: no engine answers.
        ModelRequestFailed: the engine refuses the key.
    """
    async with EngineClient(url, api_key=api_key, request_timeout=REQUEST_TIMEOUT_S) as client:
        endpoint = await client.discover()
        program_id = program_id or uuid4().hex
        hints = EngineHints(client, endpoint, program_id)
        try:
            yield AttachedProgram(program_id, f"{endpoint.url}/v1", parent_id, hints)
        finally:
            await hints.ended()
