"""An OpenAI-compatible engine on loopback that says what a test told it to say.

    with ScriptedEngine([call("grep", pattern="x"), answer("found")]) as engine:
        …  # engine.url

It is a real HTTP server in a thread of its own, so that clients in this process and in others
meet real sockets. Leaving the `with` block fails the test if a step was not consumed.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentrt.testing.script import Script
from agentrt.testing.steps import Step
from agentrt_engine.wire.hints import HINTS_PATH, Hint, HintKind, HintOutcome, HintResult
from agentrt_engine.wire.identity import PROGRAM_ID
from agentrt_engine.wire.info import EngineInfo

MODEL = "scripted"


#: `GET /agentrt/info` of an engine with the plug-in.
INFO = EngineInfo(
    version="0.1.0",
    sglang="0.5.23",
    instance="scripted",
    model=MODEL,
    device="cpu",
    policy="fcfs",
    kv_tokens=10_000,
    max_running=8,
)


@dataclass(frozen=True, slots=True)
class Received:
    """One chat request that arrived."""

    body: dict[str, Any]
    headers: Mapping[str, str]


class ScriptedEngine:
    """The server; a context manager that listens inside its block.

    Attributes:
        url: where it listens, once entered.
        requests: all chat requests, in order.
        hints: what it was told between them, in order.
        hint_headers: with which headers, in the same order.

    Args:
        steps: replies in the order of the requests; or one list of replies per program, in
            the order in which programs make their first request.
        info: what `GET /agentrt/info` answers; None: 404, as any other engine.
        api_key: refuse requests without this bearer token.
        terms: what it says of a pause when a tool starts, fields of `HintOutcome`.
    """

    def __init__(
        self,
        steps: Sequence[Step] | Sequence[Sequence[Step]] = (),
        *,
        info: EngineInfo | None = None,
        api_key: str | None = None,
        terms: Mapping[str, Any] | None = None,
    ) -> None:
        self._terms = dict(terms or {})
        self.url = ""
        self.requests: list[Received] = []
        self.hints: list[Hint] = []
        self.hint_headers: list[Mapping[str, str]] = []
        self._script = Script(steps)
        self._info = info
        self._api_key = api_key
        self._unexpected = 0
        # The protocol is named because asyncio turns Nagle off only for such sockets.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._server = _server(
            Starlette(
                routes=[
                    Route("/v1/models", self._models),
                    Route("/agentrt/info", self._agentrt_info),
                    Route("/v1/chat/completions", self._chat, methods=["POST"]),
                    Route(HINTS_PATH, self._hint, methods=["POST"]),
                ]
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="scripted engine"
        )

    def requests_by_program(self) -> dict[str, list[Received]]:
        """The requests so far, by the program id in their header."""
        grouped = defaultdict(list)
        for request in self.requests:
            grouped[request.headers[PROGRAM_ID.lower()]].append(request)
        return dict(grouped)

    def __enter__(self) -> ScriptedEngine:
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        # Listening from here on: a client that comes before the thread is ready just waits.
        self._socket.listen(128)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
        assert not self._thread.is_alive(), "the scripted engine did not stop"
        if error is None:
            assert not self._unexpected, f"{self._unexpected} requests came that have no step"
            left = self._script.left
            assert not left, f"steps that were not consumed: {left}"

    async def _models(self, request: Request) -> Response:
        if self._is_refused(request):
            return _error(401, "Unauthorized")
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _agentrt_info(self, request: Request) -> Response:
        if self._info is None:
            return _error(404, "Not Found")
        return JSONResponse(self._info.to_builtins())

    async def _chat(self, request: Request) -> Response:
        if self._is_refused(request):
            return _error(401, "Unauthorized")
        body = await request.json()
        self.requests.append(Received(body, dict(request.headers)))
        step = self._script.take(request.headers.get(PROGRAM_ID, ""))
        if step is None:
            self._unexpected += 1
            return _error(500, "the script has no step for this request")
        await asyncio.sleep(step.delay_s)
        if step.dies:
            self._die()
        if step.status != 200:
            return _error(step.status, step.text)
        if body.get("stream"):
            events = step.events(body["messages"], model=MODEL)
            return StreamingResponse(events, media_type="text/event-stream")
        meta = bool(body.get("return_meta_info"))
        return JSONResponse(step.completion(body["messages"], model=MODEL, meta=meta))

    async def _hint(self, request: Request) -> Response:
        if self._is_refused(request):
            return _error(401, "Unauthorized")
        hint = msgspec.json.decode(await request.body(), type=Hint)
        self.hints.append(hint)
        self.hint_headers.append(dict(request.headers))
        terms = self._terms if hint.kind is HintKind.TOOL_STARTED else {}
        outcome = HintOutcome(hint.program_id, hint.kind, HintResult.APPLIED, **terms)
        return JSONResponse([msgspec.to_builtins(outcome)])

    def _is_refused(self, request: Request) -> bool:
        return (
            self._api_key is not None
            and request.headers.get("authorization") != f"Bearer {self._api_key}"
        )

    def _die(self) -> None:
        self._server.should_exit = True
        for server in self._server.servers:
            server.close()
        self._socket.close()
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            assert isinstance(transport, asyncio.Transport)
            transport.abort()


def _server(app: Starlette) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status)
