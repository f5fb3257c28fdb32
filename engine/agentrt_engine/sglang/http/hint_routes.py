"""`POST /agentrt/hints`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.sglang.http.request_body import read_body
from agentrt_engine.sglang.http.scope import owner_of
from agentrt_engine.sglang.http.tool_watch import HintingPrograms
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hint_decoding import InvalidHint, decode_hints
from agentrt_engine.wire.hints import MAX_BYTES, HintOutcome
from agentrt_engine.wire.question import Question


class HintRoute:
    """Passes hints on to the scheduler and answers with what became of each."""

    def __init__(self, channel: SchedulerChannel, hinting: HintingPrograms) -> None:
        self._channel = channel
        self._hinting = hinting

    async def post(self, request: Request) -> Response:
        """A list of `HintOutcome` in the order of the hints."""
        try:
            batch = decode_hints(await read_body(request, MAX_BYTES))
        except InvalidHint as error:
            raise Refusal(400, str(error), "invalid_hint", error.field) from error
        owner = owner_of(request.scope)
        for hint in batch.hints:
            self._hinting.note(owner, hint)
        owned = [OwnedHint(owner, hint) for hint in batch.hints]
        answer = await self._channel.ask(Question.HINTS, msgspec.json.encode(owned))
        if batch.action_ids is not None:
            answer = _with_action_ids(answer, batch.action_ids)
        return Response(answer, media_type="application/json")


def _with_action_ids(answer: bytes, action_ids: list[str]) -> bytes:
    outcomes = msgspec.json.decode(answer, type=list[HintOutcome])
    rows: list[dict[str, Any]] = [
        {"action_id": action_id, **msgspec.to_builtins(outcome)}
        for action_id, outcome in zip(action_ids, outcomes, strict=True)
    ]
    return msgspec.json.encode(rows)
