"""A program ends with the session of its name."""

from __future__ import annotations

import msgspec

from agentrt_engine.sglang.http.body import read_body
from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.scope import App, Message, Receive, Scope, Send, owner_of, path_of
from agentrt_engine.wire.control import OwnedHint
from agentrt_engine.wire.hints import Hint, HintKind
from agentrt_engine.wire.identity import is_name
from agentrt_engine.wire.question import Question

#: SGLang's route.
CLOSE_SESSION_PATH = "/close_session"


class _Closed(msgspec.Struct):
    session_id: str


class SessionEndMiddleware:
    """Ends programs whose sessions are closed; of the key that the request bears, no other."""

    def __init__(self, app: App, channel: SchedulerChannel) -> None:
        self._app = app
        self._channel = channel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or path_of(scope) != CLOSE_SESSION_PATH:
            await self._app(scope, receive, send)
            return
        content, receive = await read_body(receive)

        async def then_end(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                await self._end(owner_of(scope), content)
            await send(message)

        await self._app(scope, receive, then_end)

    async def _end(self, owner: str, content: bytes) -> None:
        try:
            closed = msgspec.json.decode(content, type=_Closed)
        except msgspec.DecodeError:
            return  # SGLang's to refuse
        if is_name(closed.session_id):
            hint = OwnedHint(owner, Hint(closed.session_id, HintKind.ENDED))
            await self._channel.tell(Question.HINTS, msgspec.json.encode([hint]))
