"""Small servers that answer like engines, at once: the routes that commands ask, no model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentrt_engine.wire.programs import EngineSnapshot

MODEL = "small"


@dataclass(slots=True)
class FakeServer:
    """What a server says; `app()` serves it.

    Attributes:
        native: it has SGLang's `/generate` and `/server_info`; else only `/v1/completions`.
        key: bearer token that it demands.
        vocabulary: ids from there on are refused.
        received: path and body of each POST and PUT.
        snapshots: of `GET /agentrt/programs`, one after the other, the last one again and again;
            None: an error 503 in its place. Empty: no plug-in.
        learned: of `GET /agentrt/learned`; replaced by a PUT.
    """

    native: bool = True
    key: str | None = None
    kv_tokens: int = 1600
    vocabulary: int = 50_000
    received: list[tuple[str, Any]] = field(default_factory=list)
    snapshots: list[EngineSnapshot | None] = field(default_factory=list)
    learned: bytes | None = None

    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/agentrt/programs", self._programs),
            Route("/agentrt/learned", self._learned, methods=["GET", "PUT"]),
        ]
        if self.native:
            routes += [
                Route("/server_info", self._server_info),
                Route("/generate", self._generate, methods=["POST"]),
                Route("/flush_cache", self._note, methods=["POST"]),
                Route("/agentrt/hints", self._note, methods=["POST"]),
            ]
        return Starlette(routes=routes)

    def paths(self) -> list[str]:
        """Of what was received."""
        return [path for path, _ in self.received]

    async def _models(self, request: Request) -> Response:
        if self._is_refused(request):
            return _error(401, "no key")
        owner = "sglang" if self.native else "someone"
        model = {"id": MODEL, "owned_by": owner, "max_model_len": 700}
        return JSONResponse({"data": [model]})

    async def _server_info(self, _request: Request) -> Response:
        memory = {"kvcache": 0.703, "token_capacity": 32_768}
        state = {"memory_usage": memory, "effective_max_running_requests_per_dp": 4}
        return JSONResponse(
            {
                "version": "0.5.23",
                "device": "cpu",
                "max_total_num_tokens": self.kv_tokens,
                "max_req_input_len": 700,
                "chunked_prefill_size": 4096,
                "internal_states": [state],
            }
        )

    async def _generate(self, request: Request) -> Response:
        body = await self._body(request)
        if max(body["input_ids"]) >= self.vocabulary:
            return _error(400, "a token id out of the vocabulary")
        tokens = body["sampling_params"]["max_new_tokens"]
        cached = max(0, len(body["input_ids"]) - 16)
        return _events(
            {"text": "x", "meta_info": {"completion_tokens": number, "cached_tokens": cached}}
            for number in range(1, tokens + 1)
        )

    async def _completions(self, request: Request) -> Response:
        body = await self._body(request)
        if max(body["prompt"]) >= self.vocabulary:
            return _error(400, "a token id out of the vocabulary")
        pieces: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "text": "x"}]} for _ in range(body["max_tokens"])
        ]
        details = {"prompt_tokens_details": {"cached_tokens": len(body["prompt"]) - 8}}
        pieces.append({"choices": [], "usage": {"completion_tokens": len(pieces), **details}})
        return _events(pieces)

    async def _programs(self, request: Request) -> Response:
        if self._is_refused(request):
            return _error(401, "no key")
        if not self.snapshots:
            return _error(404, "Not Found")
        snapshot = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        if snapshot is None:
            return _error(503, "the scheduler is busy")
        return Response(msgspec.json.encode(snapshot), media_type="application/json")

    async def _learned(self, request: Request) -> Response:
        if self._is_refused(request):
            return _error(401, "no key")
        if request.method == "PUT":
            self.learned = await request.body()
            return Response(status_code=204)
        if self.learned is None:
            return _error(404, "Not Found")
        return Response(self.learned, media_type="application/json")

    async def _note(self, request: Request) -> Response:
        await self._body(request)
        return Response()

    async def _body(self, request: Request) -> Any:
        content = await request.body()
        body = json.loads(content) if content else None
        self.received.append((request.url.path, body))
        return body

    def _is_refused(self, request: Request) -> bool:
        return self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}"


def _events(pieces: Any) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield b"data: " + json.dumps(piece).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status_code=status)
