"""HTTP client of an OpenAI-compatible engine."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any

import httpx2
import msgspec
from opentelemetry import propagate
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from agentrt.chat import ChatChunk, ChatCompletion, ChatReply, ChatRequest, StreamedReply
from agentrt.endpoint import Endpoint
from agentrt.errors import EngineLost, EngineUnreachable, ModelRequestFailed, SettingError
from agentrt.sse import event_data
from agentrt.text import excerpt
from agentrt.validation import explain_errors
from agentrt_engine.loopback import is_loopback
from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.bounded_strings import with_escapes
from agentrt_engine.wire.hints import (
    HINTS_EXPLICIT,
    HINTS_HEADER,
    HINTS_PATH,
    Hint,
    HintOutcome,
)
from agentrt_engine.wire.identity import ProgramTag
from agentrt_engine.wire.info import INFO_PATH, EngineInfo, decode_info

CONNECT_TIMEOUT_S = 10.0
DEFAULT_REQUEST_TIMEOUT_S = 1800.0

_CHAT_PATH = "/v1/chat/completions"


class _Model(BaseModel):
    id: str


class _ModelList(BaseModel):
    data: Annotated[list[_Model], Field(min_length=1)]


class EngineClient:
    """Requests to one engine, over as many connections as there are requests in flight.

    Nothing is retried: a repeated request would run the model twice.

    Args:
        url: where the engine listens, with or without `/v1`.
        api_key: sent as a bearer token.
        request_timeout: seconds without any byte of an answer after which the engine counts
            as lost. It covers the wait in the engine's queue.
        transport: what carries requests instead of the network.

    Raises:
        SettingError: the URL is not an HTTP URL.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_S,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = _base_url(url)
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers=bearer(api_key),
            transport=transport,
            timeout=httpx2.Timeout(request_timeout, connect=CONNECT_TIMEOUT_S, pool=None),
            # The engine queues, not the client. Idle connections are dropped before the 5 s
            # after which common servers close them, so that no request meets a closing one.
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0
            ),
            # A proxy from the environment is never meant for an engine on this machine.
            trust_env=not is_loopback(httpx2.URL(self.url).host),
        )

    async def __aenter__(self) -> EngineClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def discover(self) -> Endpoint:
        """Ask the engine what it is.

        Raises:
            EngineUnreachable: nothing answers, or something that is not an engine.
            ModelRequestFailed: the engine refuses the key.
        """
        try:
            models = await self._http.get("/v1/models", timeout=CONNECT_TIMEOUT_S)
            info = await self._http.get(INFO_PATH, timeout=CONNECT_TIMEOUT_S)
        except httpx2.TransportError as error:
            raise EngineUnreachable(
                f"no engine answers at {self.url}: {_describe(error)}",
                hint="start one with `agentrt serve`, or give the URL of a running one",
            ) from error
        if models.status_code in (401, 403):
            raise _refused(models, self.url)
        try:
            if models.status_code != httpx2.codes.OK:
                raise ValueError(f"HTTP {models.status_code}")
            model = _ModelList.model_validate_json(models.content).data[0].id
        except ValueError as error:
            raise EngineUnreachable(
                f"{self.url} answers, but GET /v1/models gave no list of models: "
                f"{excerpt(models.text)}",
                hint="give the URL of an OpenAI-compatible engine",
            ) from error
        return Endpoint(url=self.url, model=model, info=_parse_info(info))

    async def chat(
        self,
        request: ChatRequest,
        *,
        endpoint: Endpoint,
        tag: ProgramTag,
        request_id: str,
        heard: Callable[[str], None] | None = None,
    ) -> ChatReply:
        """One chat completion.

        Args:
            heard: called with each piece of the reply as it comes; None: it comes in one. Engines
                do not say how long a streamed request waited.

        Raises:
            EngineLost: the connection failed or nothing came within the request timeout.
            ModelRequestFailed: the engine refused, or its answer was not understood.
        """
        body = request.body(endpoint.model_of(request.adapter))
        if endpoint.info is not None:
            body["custom_params"] = tag.custom_params()
            if request.response_format is not None:
                body["response_format"] = with_escapes(request.response_format)
        headers = tag.headers(request_id) | {HINTS_HEADER: HINTS_EXPLICIT}
        propagate.inject(headers)
        try:
            if heard is not None:
                return await self._stream(body, headers, heard)
            if endpoint.info is not None:
                body["return_meta_info"] = True
            response = await self._http.post(_CHAT_PATH, json=body, headers=headers)
            if response.status_code != httpx2.codes.OK:
                raise _refused(response, self.url)
            return ChatCompletion.model_validate_json(response.content).reply()
        except httpx2.TransportError as error:
            raise EngineLost(
                f"the engine at {self.url} went away during a request: {_describe(error)}",
                hint="see the log of the engine; programs that had finished keep their results",
            ) from error
        except ValidationError as error:
            raise self._no_completion(explain_errors(error)) from error

    async def _stream(
        self, body: dict[str, Any], headers: dict[str, str], heard: Callable[[str], None]
    ) -> ChatReply:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        whole = StreamedReply()
        async with self._http.stream("POST", _CHAT_PATH, json=body, headers=headers) as response:
            if response.status_code != httpx2.codes.OK:
                await response.aread()
                raise _refused(response, self.url)
            async for data in event_data(response):
                chunk = ChatChunk.model_validate_json(data)
                if chunk.error is not None:
                    raise _broken_off(chunk.error, self.url)
                if piece := whole.add(chunk):
                    heard(piece)
        reply = whole.reply()
        if reply is None:
            raise self._no_completion("it broke off, or said nothing of its tokens")
        return reply

    def _no_completion(self, why: str) -> ModelRequestFailed:
        return ModelRequestFailed(
            f"the answer of {self.url} is no chat completion: {why}",
            status=httpx2.codes.OK,
            hint="is this the URL of an OpenAI-compatible engine?",
        )

    async def hint(self, hint: Hint) -> HintOutcome | None:
        """Tell the engine something of a program.

        Returns:
            what it made of it; None if it does not say so.

        Raises:
            EngineLost: the connection failed.
            ModelRequestFailed: the engine refused.
        """
        headers: dict[str, str] = {}
        propagate.inject(headers)
        try:
            response = await self._http.post(
                HINTS_PATH, content=msgspec.json.encode(hint), headers=headers
            )
        except httpx2.TransportError as error:
            raise EngineLost(
                f"the engine at {self.url} went away during a hint: {_describe(error)}"
            ) from error
        if response.status_code != httpx2.codes.OK:
            raise _refused(response, self.url)
        try:
            [outcome] = msgspec.json.decode(response.content, type=list[HintOutcome])
        except ValueError:
            return None
        return outcome


def _base_url(url: str) -> str:
    parsed = _parse_url(url)
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingError(
            f"{url!r} is not the URL of an engine",
            hint="write it like http://127.0.0.1:30000",
        )
    return str(parsed).rstrip("/").removesuffix("/v1").rstrip("/")


def _parse_url(url: str) -> httpx2.URL | None:
    try:
        return httpx2.URL(url)
    except httpx2.InvalidURL:
        return None


def _parse_info(response: httpx2.Response) -> EngineInfo | None:
    return decode_info(response.content) if response.status_code == httpx2.codes.OK else None


def _refused(response: httpx2.Response, url: str) -> ModelRequestFailed:
    hint = ""
    if response.status_code in (401, 403):
        hint = "give the key the engine was started with: connect(api_key=…) or --api-key"
    return ModelRequestFailed(
        f"the engine at {url} answered HTTP {response.status_code}: {_detail(response)}",
        status=response.status_code,
        hint=hint,
    )


def _broken_off(error: Any, url: str) -> ModelRequestFailed:
    """An error in the middle of a stream, whose status was 200."""
    status = error.get("code") if isinstance(error, dict) else None
    return ModelRequestFailed(
        f"the engine at {url} broke its answer off: {_message(error)}",
        status=status if isinstance(status, int) else httpx2.codes.OK,
    )


def _detail(response: httpx2.Response) -> str:
    """The message inside an error body, or the raw body."""
    try:
        body = TypeAdapter(dict[str, Any]).validate_json(response.content)
    except ValidationError:
        return excerpt(response.text)
    return _message(body.get("error", body))


def _message(error: Any) -> str:
    """The message inside the errors of OpenAI, SGLang and FastAPI."""
    if isinstance(error, dict):
        error = error.get("message", error.get("detail", error))
    return excerpt(str(error), 500)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
