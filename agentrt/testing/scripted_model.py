"""A model that says what a test told it to say, in the process of the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import anyio
import httpx2
import msgspec

from agentrt.connect import connect
from agentrt.runtime import Runtime
from agentrt.testing.script import Script
from agentrt.testing.steps import Step
from agentrt.text import excerpt
from agentrt_engine.wire.hints import HINTS_PATH, Hint, HintOutcome, HintResult
from agentrt_engine.wire.identity import PROGRAM_ID
from agentrt_engine.wire.info import INFO_PATH, EngineInfo

URL = "http://scripted.invalid"
MODEL = "scripted"
_EVENTS = "text/event-stream"

_INFO = EngineInfo(
    version="0",
    sglang="0",
    instance="scripted",
    model=MODEL,
    device="none",
    policy="none",
    kv_tokens=1,
    max_running=1,
)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request that the model got.

    Attributes:
        program_id: of the program that asked.
        messages: the whole history, oldest first.
        body: all that was asked: tools, response_format, max_tokens and so on.
        headers: that came with it.
    """

    program_id: str
    messages: list[dict[str, Any]]
    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def prompt(self) -> str:
        """What the last message says."""
        return str(self.messages[-1]["content"])


#: Replies to whatever is asked.
Responder = Callable[[ModelRequest], Step]


class ScriptedModel:
    """Replies in the order of its script; a context manager that fails if a step was not used.

    Attributes:
        requests: what it was asked, in order.
        hints: what it was told between requests, in order.

    Args:
        script: replies in the order of the requests; or one list of replies for each program, in
            the order in which programs make their first request; or a function that is given each
            request and returns the reply.
    """

    def __init__(self, script: Sequence[Step] | Sequence[Sequence[Step]] | Responder = ()) -> None:
        self.requests: list[ModelRequest] = []
        self.hints: list[Hint] = []
        self._responder = script if callable(script) else None
        self._script = Script(() if callable(script) else script)
        self._surprises: list[str] = []
        self._died = False

    def will(self, *steps: Step | Sequence[Step]) -> None:
        """Reply with these next: to all programs in turn, or a list for each program."""
        self._script.add(steps)

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[Runtime]:
        """A runtime on this model, whose clock is that of the event loop.

        Args:
            options: of `agentrt.connect`.
        """
        options.setdefault("clock", anyio.current_time)
        async with connect(URL, transport=httpx2.MockTransport(self._handle), **options) as runtime:
            yield runtime

    def check(self) -> None:
        """Whether the script was followed.

        Raises:
            AssertionError: a request came that has no step, or steps are left over.
        """
        if self._surprises:
            raise AssertionError("\n".join(self._surprises))
        if left := self._script.left:
            raise AssertionError(f"{len(left)} steps were not used: {left}")

    def __enter__(self) -> ScriptedModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.check()

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        if self._died:
            raise httpx2.ConnectError("the scripted engine went away", request=request)
        match request.url.path:
            case "/v1/models":
                return _ok({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
            case path if path == INFO_PATH:
                return _ok(_INFO.to_builtins())
            case path if path == HINTS_PATH:
                hint = msgspec.json.decode(request.content, type=Hint)
                self.hints.append(hint)
                outcome = HintOutcome(hint.program_id, hint.kind, HintResult.APPLIED)
                return _ok([msgspec.to_builtins(outcome)])
            case "/v1/chat/completions":
                return await self._chat(request)
        return httpx2.Response(404, json={"error": {"message": "Not Found"}})

    async def _chat(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        program = request.headers.get(PROGRAM_ID, "")
        asked = ModelRequest(program, body["messages"], body, dict(request.headers))
        self.requests.append(asked)
        step = self._next(asked)
        if step is None:
            last = asked.messages[-1]
            self._surprises.append(
                f"the script has no step for request {len(self.requests)}, whose last message is "
                f"{last['role']}: {excerpt(asked.prompt)}"
            )
            raise AssertionError(self._surprises[-1])
        await anyio.sleep(step.delay_s)
        if step.dies or self._died:
            self._died = True
            raise httpx2.RemoteProtocolError("the scripted engine went away", request=request)
        if step.status != httpx2.codes.OK:
            return _error(step.status, step.text)
        if body.get("stream"):
            events = b"".join(step.events(asked.messages, model=MODEL))
            return httpx2.Response(200, headers={"content-type": _EVENTS}, content=events)
        meta = bool(body.get("return_meta_info"))
        return _ok(step.completion(asked.messages, model=MODEL, meta=meta))

    def _next(self, asked: ModelRequest) -> Step | None:
        if self._responder is not None:
            return self._responder(asked)
        return self._script.take(asked.program_id)


def _ok(body: Any) -> httpx2.Response:
    return httpx2.Response(200, json=body)


def _error(status: int, message: str) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"message": message, "code": status}})
