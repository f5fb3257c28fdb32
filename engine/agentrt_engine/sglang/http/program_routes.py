"""`GET /agentrt/programs` and what the policy has learned, `/agentrt/learned`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.sglang.http.learned_file import UnusableLearned, decode_learned
from agentrt_engine.sglang.http.request_body import read_body
from agentrt_engine.sglang.http.scope import owner_of
from agentrt_engine.wire.authorization import short_name
from agentrt_engine.wire.control import SnapshotRequest
from agentrt_engine.wire.question import Question

#: Rows of one answer.
MAX_ROWS = 10_000

#: Bytes of what can be imported.
MAX_LEARNED_BYTES = 16 << 20


class ProgramRoutes:
    """What the scheduler knows.

    Args:
        keys: with several, a client sees only programs of its own, and only the first one, the
            operator's, may read or replace what all of them taught the engine.
    """

    def __init__(self, channel: SchedulerChannel, keys: Sequence[str]) -> None:
        self._channel = channel
        self._keys = keys

    async def programs(self, request: Request) -> Response:
        """An `EngineSnapshot`."""
        owner = owner_of(request.scope) if len(self._keys) > 1 else None
        asked = SnapshotRequest(limit=_limit(request), owner=owner)
        answer = await self._channel.ask(Question.SNAPSHOT, msgspec.json.encode(asked))
        return Response(answer, media_type="application/json")

    async def export(self, request: Request) -> Response:
        """A `Learned`, as a file."""
        self._require_operator(request)
        answer = await self._channel.ask(Question.LEARNED, b"")
        disposition = 'attachment; filename="agentrt-learned.json"'
        return Response(
            answer, media_type="application/json", headers={"content-disposition": disposition}
        )

    async def replace(self, request: Request) -> Response:
        """Takes a `Learned`; 204."""
        self._require_operator(request)
        content = await read_body(request, MAX_LEARNED_BYTES)
        try:
            decode_learned(content)
        except UnusableLearned as error:
            raise Refusal(400, f"this cannot be imported: {error}", "invalid_learned") from error
        if reason := await self._channel.ask(Question.LEARN, content):
            raise Refusal(409, f"this cannot be imported: {reason.decode()}", "other_policy")
        return Response(status_code=204)

    def _require_operator(self, request: Request) -> None:
        if len(self._keys) > 1 and owner_of(request.scope) != short_name(self._keys[0]):
            raise Refusal(
                403, "only the first key of the engine may do this: it concerns all", "not_operator"
            )


def _limit(request: Request) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return SnapshotRequest().limit
    if not text.isdecimal() or len(text) > 9 or int(text) > MAX_ROWS:
        raise Refusal(
            400, f"limit={text[:20]!r}: expected 0 to {MAX_ROWS}", "invalid_limit", "limit"
        )
    return int(text)
