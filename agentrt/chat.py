"""One model request and its reply, and the HTTP bodies they travel in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the model is asked.

    Attributes:
        messages: the whole history, oldest first.
        max_tokens: generated tokens at most.
        tools: descriptions of tools for the chat template, in OpenAI's form.
        response_format: constraint on the reply, in OpenAI's form; None for free text.
        temperature: of sampling; None leaves it to the engine.
        seed: of sampling; None leaves it to the engine.
        adapter: over the model; None: the model itself.
    """

    messages: list[Message]
    max_tokens: int
    tools: list[dict[str, Any]] = field(default_factory=list)
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    seed: int | None = None
    adapter: str | None = None

    def body(self, model: str) -> dict[str, Any]:
        """JSON body of `POST /v1/chat/completions`; fields left to the engine are left out."""
        body: dict[str, Any] = {
            "model": model,
            "messages": self.messages,
            "max_tokens": self.max_tokens,
            "tools": self.tools or None,
            "response_format": self.response_format,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        return {name: value for name, value in body.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What the model said, and what it cost.

    Attributes:
        response_id: identity the engine gave the response.
        model: name of the model that answered.
        text: the reply, verbatim.
        finish_reason: why generation ended; "length" when it was cut at `max_tokens`.
        input_tokens: the whole prompt.
        output_tokens: generated tokens.
        cached_tokens: part of the prompt found in the KV cache; None: the engine does not say.
        queue_s: seconds the request waited at the engine; None: the engine does not say.
        reasoning_tokens: part of the generated tokens; None: the engine does not say.
    """

    response_id: str
    model: str
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    queue_s: float | None
    reasoning_tokens: int | None = None


class _Incoming(BaseModel):
    """Base of bodies that come from outside: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Message(_Incoming):
    content: str | None = None


class _MetaInfo(_Incoming):
    queue_time: float | None = None


class _Choice(_Incoming):
    message: _Message
    finish_reason: str | None = None
    meta_info: _MetaInfo | None = None


class _PromptDetails(_Incoming):
    cached_tokens: int | None = None


class _CompletionDetails(_Incoming):
    reasoning_tokens: int | None = None


class _Usage(_Incoming):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class ChatCompletion(_Incoming):
    """Body of the answer to `POST /v1/chat/completions`, as far as it is used."""

    id: str = ""
    model: str = ""
    choices: Annotated[tuple[_Choice, ...], Field(min_length=1)]
    usage: _Usage

    def reply(self) -> ChatReply:
        """The first choice; only one is ever asked for."""
        choice = self.choices[0]
        return _reply(
            self.id,
            self.model,
            choice.message.content or "",
            choice.finish_reason or "",
            self.usage,
            choice.meta_info.queue_time if choice.meta_info else None,
        )


class _StreamedChoice(_Incoming):
    delta: _Message = _Message()
    finish_reason: str | None = None


class ChatChunk(_Incoming):
    """One event of an answer that is streamed, as far as it is used.

    Attributes:
        error: what the engine says instead of going on.
    """

    id: str = ""
    model: str = ""
    choices: tuple[_StreamedChoice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


class StreamedReply:
    """A reply that comes piece by piece."""

    def __init__(self) -> None:
        self._id = ""
        self._model = ""
        self._pieces: list[str] = []
        self._finish_reason = ""
        self._usage: _Usage | None = None

    def add(self, chunk: ChatChunk) -> str:
        """Take an event; returns what it adds to the text."""
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        piece = ""
        for choice in chunk.choices[:1]:
            piece = choice.delta.content or ""
            self._finish_reason = choice.finish_reason or self._finish_reason
        self._pieces.append(piece)
        return piece

    def reply(self) -> ChatReply | None:
        """The whole reply; None if the answer broke off or did not say what it used."""
        if self._usage is None or not self._finish_reason:
            return None
        text = "".join(self._pieces)
        return _reply(self._id, self._model, text, self._finish_reason, self._usage, None)


def _reply(
    response_id: str,
    model: str,
    text: str,
    finish_reason: str,
    usage: _Usage,
    queue_s: float | None,
) -> ChatReply:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return ChatReply(
        response_id=response_id,
        model=model,
        text=text,
        finish_reason=finish_reason,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cached_tokens=prompt.cached_tokens if prompt else None,
        queue_s=queue_s,
        reasoning_tokens=completion.reasoning_tokens if completion else None,
    )
