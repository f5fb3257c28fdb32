"""Timed, streamed requests: SGLang's `/generate`, or `/v1/completions` of other servers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import msgspec

from agentrt.calibrate.target import Prompt, Stream
from agentrt.client import CONNECT_TIMEOUT_S
from agentrt.errors import EngineLost, ModelRequestFailed
from agentrt.text import excerpt
from agentrt_engine.loopback import is_loopback
from agentrt_engine.wire.authorization import bearer
from agentrt_engine.wire.hints import HINTS_PATH, MAX_HINTS, Hint, HintKind
from agentrt_engine.wire.identity import ProgramTag

#: A prefill of the longest prompt on a slow machine takes less.
_SILENCE_S = 300.0


class _Meta(msgspec.Struct):
    completion_tokens: int
    cached_tokens: int | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Piece(msgspec.Struct):
    """A piece of an answer, of either interface."""

    error: msgspec.Raw | None = None
    meta_info: _Meta | None = None
    choices: list[msgspec.Raw] = []
    usage: _Usage | None = None


class HttpTarget:
    """A `Target` behind a URL; a context manager that closes its connections.

    Args:
        native: use SGLang's own interface.
    """

    def __init__(self, url: str, key: str | None, model: str, *, native: bool = True) -> None:
        self.url = url
        self.model = model
        self.native = native
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers=bearer(key),
            timeout=httpx2.Timeout(_SILENCE_S, connect=CONNECT_TIMEOUT_S, pool=None),
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0
            ),
            trust_env=not is_loopback(httpx2.URL(url).host),
        )

    async def __aenter__(self) -> HttpTarget:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def get(self, path: str) -> bytes | None:
        """The body of an answer with status 200, None for any other answer.

        Raises:
            EngineLost: the server went away.
        """
        try:
            answer = await self._http.get(path, timeout=CONNECT_TIMEOUT_S)
        except httpx2.TransportError as error:
            raise self._lost(error) from error
        return answer.content if answer.status_code == httpx2.codes.OK else None

    async def run(self, first: Sequence[Prompt], then: Sequence[Prompt] = ()) -> list[Stream]:
        """As `Target.run`."""
        streams: dict[int, Stream] = {}
        started = [anyio.Event() for _ in first]

        async def send(index: int, prompt: Prompt) -> None:
            event = started[index] if index < len(started) else None
            streams[index] = await self._stream(prompt, event)

        try:
            async with anyio.create_task_group() as tasks:
                for index, prompt in enumerate(first):
                    tasks.start_soon(send, index, prompt)
                if then:
                    for event in started:
                        await event.wait()
                for index, prompt in enumerate(then, start=len(first)):
                    tasks.start_soon(send, index, prompt)
        except* (EngineLost, ModelRequestFailed) as errors:
            # One broken connection breaks all: the first says what happened.
            raise _first_of(errors) from None
        return [streams[index] for index in sorted(streams)]

    async def clean(self, program_ids: Sequence[str]) -> None:
        """Leave nothing behind: end the programs and flush the cache, where a server can."""
        hints = [Hint(program_id, HintKind.ENDED) for program_id in program_ids[:MAX_HINTS]]
        with suppress(httpx2.TransportError):
            await self._http.post(HINTS_PATH, content=msgspec.json.encode(hints))
            await self._http.post("/flush_cache")

    async def _stream(self, prompt: Prompt, started: anyio.Event | None) -> Stream:
        path, body = self._request(prompt)
        tag = ProgramTag(prompt.program_id, final=prompt.final)
        sent = time.perf_counter()
        tokens: list[tuple[float, int]] = []
        cached = None
        try:
            async with self._http.stream(
                "POST", path, json=body, headers=tag.headers(uuid4().hex)
            ) as answer:
                if answer.status_code != httpx2.codes.OK:
                    await answer.aread()
                    raise self._refused(answer.status_code, answer.text)
                async for now, piece in self._pieces(answer):
                    number, cached_now = _read(piece, tokens)
                    cached = cached if cached_now is None else cached_now
                    if number > (tokens[-1][1] if tokens else 0):
                        tokens.append((now, number))
                    if started is not None and number >= 2:
                        started.set()
        except httpx2.TransportError as error:
            raise self._lost(error) from error
        finally:
            if started is not None:
                started.set()
        if not tokens:
            raise self._refused(200, "an answer without a token")
        return Stream(sent, tokens, cached)

    def _request(self, prompt: Prompt) -> tuple[str, dict[str, Any]]:
        if self.native:
            parameters = {
                "max_new_tokens": prompt.output_tokens,
                "temperature": 0,
                "ignore_eos": True,
            }
            return "/generate", {
                "input_ids": prompt.token_ids,
                "stream": True,
                "sampling_params": parameters,
            }
        return "/v1/completions", {
            "model": self.model,
            "prompt": prompt.token_ids,
            "max_tokens": prompt.output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    async def _pieces(self, answer: httpx2.Response) -> AsyncIterator[tuple[float, _Piece]]:
        async for line in answer.aiter_lines():
            now = time.perf_counter()
            data = line.removeprefix("data:").strip()
            if data == line.strip() or data == "[DONE]":
                continue
            try:
                piece = msgspec.json.decode(data, type=_Piece)
            except msgspec.DecodeError as error:
                raise self._refused(200, f"{excerpt(data)} ({error})") from error
            if piece.error is not None:
                raise self._refused(200, bytes(piece.error).decode())
            yield now, piece

    def _lost(self, error: Exception) -> EngineLost:
        return EngineLost(
            f"the engine at {self.url} went away during a measurement: {type(error).__name__}",
            hint="see the log of the engine",
        )

    def _refused(self, status: int, detail: str) -> ModelRequestFailed:
        return ModelRequestFailed(
            f"the engine at {self.url} answered HTTP {status} to a measurement: {excerpt(detail)}",
            status=status,
        )


def _read(piece: _Piece, tokens: Sequence[tuple[float, int]]) -> tuple[int, int | None]:
    """Output tokens so far, and cached tokens if they are said."""
    if piece.meta_info is not None:
        return piece.meta_info.completion_tokens, piece.meta_info.cached_tokens
    before = tokens[-1][1] if tokens else 0
    usage, details = piece.usage, piece.usage and piece.usage.prompt_tokens_details
    counted = before + 1 if piece.choices else before
    if usage is not None and usage.completion_tokens:
        counted = usage.completion_tokens
    return counted, details.cached_tokens if details else None


def _first_of(errors: BaseExceptionGroup[EngineLost | ModelRequestFailed]) -> Exception:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, EngineLost | ModelRequestFailed)
    return first
