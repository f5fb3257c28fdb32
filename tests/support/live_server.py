"""An engine for live replays: an ASGI app with a prefix cache, and a way to it without sockets.

It speaks `/generate` of SGLang and `/v1/completions` of OpenAI, with as many of their extensions
as a test wants, and takes a given time for a prompt and for each token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentrt.replay.live.address import EngineAddress
from agentrt_engine.wire.identity import FINAL, PARENT_ID, PROGRAM_ID
from agentrt_engine.wire.info import EngineInfo

MODEL = "tiny"
URL = "http://engine:30000"


class Kind(StrEnum):
    """Which engine it is like."""

    SGLANG = "sglang"
    VLLM = "vllm"
    #: Rejects every field that the API of OpenAI does not have, and does not count its hits.
    PLAIN = "plain"
    #: The same, and takes text only.
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for tokens; times of the event loop's clock."""

    path: str
    prompt: tuple[int, ...]
    output_tokens: int
    headers: dict[str, str]
    body: dict[str, Any]
    at_s: float
    cached_tokens: int

    @property
    def program(self) -> str:
        """Its id on the wire."""
        return self.headers[PROGRAM_ID.lower()]

    @property
    def parent(self) -> str | None:
        """Id of its parent."""
        return self.headers.get(PARENT_ID.lower())

    @property
    def final(self) -> bool:
        """Whether it is said to be the last of its program."""
        return self.headers.get(FINAL.lower()) == "true"


@dataclass
class LiveServer:
    """The engine.

    Attributes:
        info: what `GET /agentrt/info` answers; None: 404.
        incremental: events of `/generate` have new ids only.
        prefill_s, token_s: time for a prompt, and for each further token.
        fails: says which requests are refused, and with which status.
        asked: requests for tokens that were answered or refused, without probes and warm-ups.
        hints: that came, with the time.
        broken: answers that nobody waited for any more.
        url: where it listens, if it does.
        flushes: times at which the cache was emptied.
    """

    kind: Kind = Kind.SGLANG
    info: EngineInfo | None = None
    key: str | None = None
    incremental: bool = False
    context_tokens: int | None = 100_000
    prefill_s: float = 0.0
    token_s: float = 0.0
    queue_s: float | None = None
    shortest: int | None = None
    fails: Callable[[Asked], int | None] = lambda asked: None
    asked: list[Asked] = field(default_factory=list)
    hints: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    flushes: list[float] = field(default_factory=list)
    broken: int = 0
    url: str = URL
    _cache: dict[int, Any] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/completions", self._completions, methods=["POST"]),
        ]
        if self.kind is Kind.SGLANG:
            routes += [
                Route("/generate", self._generate, methods=["POST"]),
                Route("/flush_cache", self._flush, methods=["POST"]),
                Route("/server_info", self._server_info),
            ]
        if self.kind is Kind.VLLM:
            routes.append(Route("/version", self._version))
        if self.info is not None:
            routes += [
                Route("/agentrt/info", self._info),
                Route("/agentrt/hints", self._hints, methods=["POST"]),
            ]
        return Starlette(routes=routes)

    def address(self, name: str | None = None) -> EngineAddress:
        """For `open_engine`, together with `transport`."""
        return EngineAddress(self.url, name, self.key)

    def transport(self) -> StreamingTransport:
        """The way to it within this process."""
        return StreamingTransport(self.app())

    def of(self, program: str) -> list[Asked]:
        """The requests of a program, by the beginning of its id on the wire."""
        return [asked for asked in self.asked if asked.program.startswith(f"{program}.")]

    # What is asked about it.

    async def _models(self, request: Request) -> Response:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"message": "wrong key"}}, 401)
        owner = "someone" if self.kind in (Kind.PLAIN, Kind.TEXT) else self.kind.value
        card: dict[str, Any] = {"id": MODEL, "object": "model", "owned_by": owner}
        if owner != "someone":
            card["max_model_len"] = self.context_tokens
        return JSONResponse({"object": "list", "data": [card]})

    async def _info(self, request: Request) -> Response:
        assert self.info is not None
        return JSONResponse(self.info.to_builtins())

    async def _server_info(self, request: Request) -> Response:
        return JSONResponse({"version": "0.5.23", "max_total_num_tokens": 50_000})

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": "0.33.0"})

    async def _hints(self, request: Request) -> Response:
        self.hints.append((_now(), await request.json()))
        return JSONResponse([])

    async def _flush(self, request: Request) -> Response:
        self.flushes.append(_now())
        self._cache.clear()
        return Response("Cache flushed.")

    # Tokens.

    async def _generate(self, request: Request) -> Response:
        body = await request.json()
        assert body["stream"]
        sampling = body["sampling_params"]
        assert sampling["ignore_eos"]
        asked, refusal = self._note(request, body, body["input_ids"], sampling["max_new_tokens"])
        return refusal or StreamingResponse(self._generated(asked))

    async def _generated(self, asked: Asked) -> AsyncIterator[bytes]:
        ids: list[int] = []
        async for token in self._tokens(asked):
            ids.append(token)
            last = len(ids) == asked.output_tokens
            meta: dict[str, Any] = {
                "prompt_tokens": len(asked.prompt),
                "completion_tokens": len(ids),
                "cached_tokens": asked.cached_tokens,
                "finish_reason": {"type": "length"} if last else None,
            }
            if self.queue_s is not None:
                meta["queue_time"] = self.queue_s
            yield _event({"output_ids": [token] if self.incremental else ids, "meta_info": meta})
        yield b"data: [DONE]\n\n"

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        if self.kind is Kind.TEXT and not isinstance(body["prompt"], str):
            return JSONResponse({"error": {"message": "prompt: expected a string"}}, 400)
        extensions = {"ignore_eos", "min_tokens", "return_token_ids", "session_id"}
        if self.kind is Kind.PLAIN and (unknown := extensions & body.keys()):
            return JSONResponse({"error": {"message": f"unknown fields {sorted(unknown)}"}}, 422)
        wanted = body["max_tokens"]
        if self.shortest is not None and not body.get("ignore_eos"):
            wanted = min(wanted, self.shortest)
        asked, refusal = self._note(request, body, body["prompt"], wanted)
        return refusal or StreamingResponse(self._completed(asked))

    async def _completed(self, asked: Asked) -> AsyncIterator[bytes]:
        produced = 0
        async for token in self._tokens(asked):
            produced += 1
            choice: dict[str, Any] = {"text": "", "index": 0, "finish_reason": None}
            if asked.body.get("return_token_ids"):
                choice["token_ids"] = [token]
            if produced == asked.output_tokens:
                choice["finish_reason"] = "length"
            yield _event({"choices": [choice]})
        usage: dict[str, Any] = {"prompt_tokens": len(asked.prompt), "completion_tokens": produced}
        if self.kind is Kind.VLLM:
            usage["prompt_tokens_details"] = {"cached_tokens": asked.cached_tokens}
        yield _event({"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _note(
        self, request: Request, body: dict[str, Any], prompt: Sequence[int], output: int
    ) -> tuple[Asked, Response | None]:
        cached = self._cached(prompt)
        asked = Asked(
            request.url.path,
            tuple(prompt),
            output,
            dict(request.headers),
            body,
            _now(),
            min(cached, len(prompt) - 1),
        )
        if asked.program.startswith("agentrt-"):
            return asked, None
        self.asked.append(asked)
        status = self.fails(asked)
        if status is None:
            return asked, None
        return asked, JSONResponse({"error": {"message": "no"}}, status)

    async def _tokens(self, asked: Asked) -> AsyncIterator[int]:
        measured = asked in self.asked
        try:
            await asyncio.sleep(self.prefill_s if measured else 0.0)
        except asyncio.CancelledError:
            self.broken += 1
            raise
        self._remember(asked.prompt)
        produced: list[int] = []
        for index in range(asked.output_tokens):
            if index and measured:
                await asyncio.sleep(self.token_s)
            # Greedy: what comes next follows from what came before.
            token = (sum(asked.prompt[-5:]) * 31 + sum(produced) + index) % 20_000 + 2_000
            produced.append(token)
            yield token
        self._remember([*asked.prompt, *produced])

    def _cached(self, prompt: Sequence[int]) -> int:
        node = self._cache
        for depth, token in enumerate(prompt):
            if token not in node:
                return depth
            node = node[token]
        return len(prompt)

    def _remember(self, tokens: Sequence[int]) -> None:
        node = self._cache
        for token in tokens:
            node = node.setdefault(token, {})


class StreamingTransport(httpx2.AsyncBaseTransport):
    """Hands requests to an ASGI application and its answer on piece by piece.

    The transport of the library waits for the whole answer, so there would be no first token.
    """

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        started: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.Future()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.set_result((message["status"], message["headers"]))
            elif message["type"] == "http.response.body":
                pieces.put_nowait(message.get("body", b""))
                if not message.get("more_body", False):
                    pieces.put_nowait(None)

        task = asyncio.create_task(self._app(_scope(request), receive, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        either: set[asyncio.Future[Any]] = {task, started}
        done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task in done and task.exception() is not None:
            await task
        status, headers = await started
        return httpx2.Response(status, headers=headers, stream=_Pieces(pieces, task))


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: asyncio.Queue[bytes | None], task: asyncio.Task[None]) -> None:
        self._pieces = pieces
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "server": ("engine", 30000),
        "client": ("client", 1),
    }


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _now() -> float:
    return asyncio.get_running_loop().time()
