"""The protocol of every OpenAI-compatible engine, `POST /v1/completions`, with ids as prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from agentrt.replay.live.wire import Answer, RequestFailed, TurnRequest, reported


@dataclass(frozen=True, slots=True)
class Extensions:
    """What an engine accepts beyond the API of OpenAI.

    Attributes:
        exact_length: `ignore_eos` and `min_tokens`, so that outputs are as long as asked for.
        token_ids: `return_token_ids`.
        session: `session_id` names the program; else `prompt_cache_key` does.
        custom_params: SGLang's.
    """

    exact_length: bool = True
    token_ids: bool = True
    session: bool = True
    custom_params: bool = False


class OpenAICompletions:
    """Requests to `/v1/completions`.

    Args:
        model: name for requests.
    """

    name = "openai completions"
    path = "/v1/completions"

    def __init__(self, model: str, extensions: Extensions) -> None:
        self._model = model
        self.extensions = extensions

    def body(self, request: TurnRequest) -> dict[str, Any]:
        accepted = self.extensions
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": request.prompt,
            "max_tokens": request.output_tokens,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if accepted.exact_length:
            body |= {"ignore_eos": True, "min_tokens": request.output_tokens}
        if accepted.token_ids:
            body["return_token_ids"] = True
        body["session_id" if accepted.session else "prompt_cache_key"] = request.tag.program_id
        if accepted.custom_params:
            body["custom_params"] = request.tag.custom_params()
        return body

    def reader(self) -> CompletionsReader:
        return CompletionsReader()


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class CompletionsReader:
    """Reads `data:` events of `/v1/completions`."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._events = 0
        self._usage: _Usage | None = None
        self._finish: str | None = None

    def feed(self, data: str) -> bool:
        chunk = msgspec.json.decode(data, type=_Chunk)
        if chunk.error is not None:
            raise reported(chunk.error)
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            self._events += 1
            self._ids += choice.token_ids or ()
            self._finish = choice.finish_reason or self._finish
        return self._events > 0

    def answer(self) -> Answer:
        if self._finish is None:
            raise RequestFailed("the answer broke off")
        if self._finish in ("abort", "error"):
            raise RequestFailed(f"ended by the engine: {self._finish}")
        usage = self._usage
        details = usage.prompt_tokens_details if usage else None
        return Answer(
            prompt_tokens=usage.prompt_tokens if usage else None,
            cached_tokens=details.cached_tokens if details else None,
            # Without usage an event is a token, which holds for most engines.
            output_tokens=usage.completion_tokens if usage else len(self._ids) or self._events,
            output_ids=self._ids or None,
        )
