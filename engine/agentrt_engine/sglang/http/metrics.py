"""Adds our metrics to SGLang's at `/metrics`."""

from __future__ import annotations

import logging

import msgspec

from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.failures import Refusal
from agentrt_engine.sglang.http.scope import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    headers_of,
    path_of,
    with_headers,
)
from agentrt_engine.wire.control import SnapshotRequest
from agentrt_engine.wire.programs import EngineSnapshot
from agentrt_engine.wire.question import Question

_logger = logging.getLogger(__name__)

#: How long a scrape waits for the scheduler, seconds.
SCRAPE_S = 2.0

#: The last line of the OpenMetrics format.
_END = b"# EOF\n"


class MetricsMiddleware:
    """Appends; SGLang's own metrics come in any case."""

    def __init__(self, app: App, channel: SchedulerChannel) -> None:
        self._app = app
        self._channel = channel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if not _is_scrape(scope):
            await self._app(scope, receive, send)
            return
        ours = await self._ours(headers_of(scope).get("accept", ""))
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                whole = body.removesuffix(_END) + ours if start["status"] == 200 and ours else body
                await send(_with_length(start, len(whole)))
                await send({"type": "http.response.body", "body": whole})

        # Not packed, or nothing could be appended.
        await self._app(with_headers(scope, accept_encoding=None), receive, collect)

    async def _ours(self, accept: str) -> bytes:
        """In the format that SGLang's exporter will choose; empty without an answer."""
        from prometheus_client.exposition import choose_encoder

        from agentrt_engine.sglang.http.metric_families import registry_of

        asked = msgspec.json.encode(SnapshotRequest(limit=0))
        try:
            answer = await self._channel.ask(Question.SNAPSHOT, asked, SCRAPE_S)
        except Refusal as error:
            _logger.warning("our metrics are missing from this scrape: %s", error)
            return b""
        snapshot = msgspec.json.decode(answer, type=EngineSnapshot)
        encode, _content_type = choose_encoder(accept)
        text: bytes = encode(registry_of(snapshot))
        return text


def _is_scrape(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and path_of(scope) in ("/metrics", "/metrics/")
    )


def _with_length(start: Message, length: int) -> Message:
    kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    return {**start, "headers": [*kept, (b"content-length", b"%d" % length)]}
