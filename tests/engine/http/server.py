"""A small server in the place of SGLang's, and a scheduler that answers from this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from agentrt_engine.sglang.http.channel import SchedulerChannel
from agentrt_engine.sglang.http.identity import tag_tokenized
from agentrt_engine.sglang.http.learned_keeper import LearnedKeeper
from agentrt_engine.sglang.http.server import extend
from agentrt_engine.wire.control import LEARNED_VERSION, Learned, OwnedHint
from agentrt_engine.wire.hints import Hint, HintOutcome, HintResult
from agentrt_engine.wire.identity import ProgramTag, tag_from_custom_params
from agentrt_engine.wire.programs import EngineSnapshot, ProgramAccount, Totals
from agentrt_engine.wire.question import Question

LEARNED = Learned(LEARNED_VERSION, "guard", {"tools": {"bash": [1.0, 2.0]}})

SNAPSHOT = EngineSnapshot(
    policy="guard",
    uptime_s=12.0,
    kv_tokens=1000,
    free_tokens=300,
    leased_tokens=500,
    running=2,
    waiting=1,
    max_running=16,
    price=0.25,
    states={"running": 2, "paused": 5},
    keys={"abcdef01": 500},
    totals=Totals(
        programs_started=9,
        prompt_tokens=100,
        hit_tokens=60,
        lost_tokens=10,
        pauses=4,
        pause_s=8.0,
        predicted_pause_s=6.0,
        pause_error_s=3.0,
        programs_ended={"final": 2},
        reclaims={"admission": 3},
        reclaimed_tokens={"admission": 64},
        leases={"granted": 7},
        hints={"applied": 5},
        account=ProgramAccount(decode_s=1.5),
    ),
    programs=[],
)


class FakeScheduler:
    """Answers questions, unless it is told to be silent.

    Args:
        answer_s: how long the channel waits.

    Attributes:
        asked: every question with its payload.
        objection: to anything it is to learn.
        on_ask: called with every question.
    """

    def __init__(self, answer_s: float = 15.0) -> None:
        self.channel = SchedulerChannel(self._send, answer_s)
        self.asked: list[tuple[Question, bytes]] = []
        self.silent = False
        self.learned = LEARNED
        self.objection = ""
        self.on_ask: Callable[[Question], None] = lambda _question: None

    @property
    def hints(self) -> list[OwnedHint]:
        """All hints that came, in order."""
        payloads = [payload for question, payload in self.asked if question is Question.HINTS]
        return [
            hint for each in payloads for hint in msgspec.json.decode(each, type=list[OwnedHint])
        ]

    async def _send(self, rid: str, question: Question, payload: bytes) -> None:
        self.asked.append((question, payload))
        self.on_ask(question)
        if not self.silent:
            answer = self._answer(question, payload)
            asyncio.get_running_loop().call_soon(self.channel.receive, rid, answer)

    def _answer(self, question: Question, payload: bytes) -> bytes:
        match question:
            case Question.HINTS:
                hints = [each.hint for each in msgspec.json.decode(payload, type=list[OwnedHint])]
                return msgspec.json.encode([_applied(hint) for hint in hints])
            case Question.SNAPSHOT:
                return msgspec.json.encode(SNAPSHOT)
            case Question.LEARNED:
                return msgspec.json.encode(self.learned)
            case Question.LEARN:
                if self.objection:
                    return self.objection.encode()
                self.learned = msgspec.json.decode(payload, type=Learned)
                return b""


def _applied(hint: Hint) -> HintOutcome:
    return HintOutcome(hint.program_id, hint.kind, HintResult.APPLIED)


@dataclass
class FakeEngine:
    """SGLang's routes, and what they were asked.

    Attributes:
        answer: content of the next response; a list is streamed, one chunk each.
        tags: of the tokenized requests, None where a request had none.
        others: the other keys of their `custom_params`.
        authorizations: the header as SGLang sees it.
    """

    answer: bytes | list[bytes] = b"{}"
    tags: list[ProgramTag | None] = field(default_factory=list)
    others: list[set[str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def generate(self, request: Request) -> Response:
        """Any route that generates; `n` tokenized requests, made in tasks of their own."""
        self.authorizations.append(request.headers.get("authorization"))
        body = await request.json()
        given = body.get("custom_params") or (body.get("sampling_params") or {}).get(
            "custom_params"
        )
        async with asyncio.TaskGroup() as tasks:
            for _ in range(body.get("n", 1)):
                tasks.create_task(self._tokenize(given))
        if isinstance(self.answer, bytes):
            return Response(self.answer, media_type="application/json")
        return StreamingResponse(self._stream(self.answer), media_type="text/event-stream")

    async def _tokenize(self, given: dict[str, Any] | None) -> None:
        request = SimpleNamespace(sampling_params=SimpleNamespace(custom_params=given))
        tag_tokenized(request)
        sent = request.sampling_params.custom_params
        self.tags.append(tag_from_custom_params(sent))
        self.others.append(set(sent or {}) - {"agentrt"})

    async def _stream(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def close_session(self, request: Request) -> Response:
        """Refuses as SGLang does what has no id."""
        known = isinstance(await request.json(), dict)
        return Response(status_code=200 if known else 422)

    async def health(self, _request: Request) -> Response:
        """A probe."""
        return JSONResponse({})

    def app(self) -> Starlette:
        """The application before ours is added."""
        generating = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/generate")
        Counter("sglang_requests", "Theirs", registry=self.registry).inc(3)
        return Starlette(
            routes=[
                *(Route(path, self.generate, methods=["POST"]) for path in generating),
                Route("/close_session", self.close_session, methods=["POST"]),
                Route("/health", self.health),
                Mount("/metrics", make_asgi_app(registry=self.registry)),
            ]
        )


class OwnCheck:
    """SGLang's check, which knows one key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            assert dict(scope["headers"])[b"authorization"] == f"Bearer {self._key}".encode()
        await self._app(scope, receive, send)


def client_of(
    engine: FakeEngine,
    scheduler: FakeScheduler,
    *,
    keys: Sequence[str] = (),
    admin_key: str | None = None,
    keeper: LearnedKeeper | None = None,
) -> TestClient:
    """A client of the extended server; SGLang's own check is added after ours, as it does."""
    app = engine.app()
    extend(app, scheduler.channel, keys, admin_key, keeper)
    if keys and admin_key is None:
        app.add_middleware(OwnCheck, key=keys[0])
    return TestClient(app)
