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
    """

    messages: list[Message]
    max_tokens: int
    tools: list[dict[str, Any]] = field(default_factory=list)
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    seed: int | None = None

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
        prompt = self.usage.prompt_tokens_details
        completion = self.usage.completion_tokens_details
        return ChatReply(
            response_id=self.id,
            model=self.model,
            text=choice.message.content or "",
            finish_reason=choice.finish_reason or "",
            input_tokens=self.usage.prompt_tokens,
            output_tokens=self.usage.completion_tokens,
            cached_tokens=prompt.cached_tokens if prompt else None,
            queue_s=choice.meta_info.queue_time if choice.meta_info else None,
            reasoning_tokens=completion.reasoning_tokens if completion else None,
        )
