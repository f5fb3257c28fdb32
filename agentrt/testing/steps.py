"""What a scripted model does with one request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pydantic_core

_RESPONSE_ID = "response-1"

#: Characters of a piece of a reply that is streamed.
_PIECE = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One reply, or what comes instead of it.

    Attributes:
        text: the reply, verbatim.
        finish_reason: "length" for a reply that was cut.
        input_tokens: as reported; None counts the characters of the messages.
        output_tokens: as reported; None counts the characters of the reply.
        cached_tokens: as reported; None leaves the field out.
        queue_s: seconds in the engine's queue, as reported; None leaves it out.
        reasoning_tokens: as reported; None leaves the field out.
        delay_s: seconds before the reply.
        status: HTTP status; anything but 200 sends an error with `text` as its message.
        dies: the engine goes away instead of replying.
    """

    text: str = ""
    finish_reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    queue_s: float | None = None
    reasoning_tokens: int | None = None
    delay_s: float = 0.0
    status: int = 200
    dies: bool = False

    def after(self, seconds: float) -> Step:
        """The same, so many seconds later."""
        return replace(self, delay_s=seconds)

    def completion(
        self, messages: list[dict[str, Any]], *, model: str, meta: bool
    ) -> dict[str, Any]:
        """Body of the answer to `POST /v1/chat/completions`.

        Args:
            messages: of the request.
            meta: the request asks for what the engine says of itself.
        """
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": self.text},
            "finish_reason": self.finish_reason,
        }
        if meta:
            queue = {} if self.queue_s is None else {"queue_time": self.queue_s}
            choice["meta_info"] = {"id": "scripted", **queue}
        return {
            "id": _RESPONSE_ID,
            "object": "chat.completion",
            "model": model,
            "choices": [choice],
            "usage": self._usage(messages),
        }

    def events(self, messages: list[dict[str, Any]], *, model: str) -> Iterator[bytes]:
        """The same answer, streamed: server-sent events with a few characters each.

        Args:
            messages: of the request.
        """
        pieces = [self.text[at : at + _PIECE] for at in range(0, len(self.text), _PIECE)]
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": ""},
            *({"content": piece} for piece in pieces),
        ]
        choices: list[dict[str, Any]] = [
            {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
        ]
        choices.append({"index": 0, "delta": {}, "finish_reason": self.finish_reason})
        chunk = {"id": _RESPONSE_ID, "object": "chat.completion.chunk", "model": model}
        for choice in choices:
            yield _event(json.dumps(chunk | {"choices": [choice], "usage": None}))
        yield _event(json.dumps(chunk | {"choices": [], "usage": self._usage(messages)}))
        yield _event("[DONE]")

    def _usage(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        characters = sum(len(message["content"] or "") for message in messages)
        cached, reasoning = self.cached_tokens, self.reasoning_tokens
        return {
            "prompt_tokens": characters if self.input_tokens is None else self.input_tokens,
            "completion_tokens": (
                len(self.text) if self.output_tokens is None else self.output_tokens
            ),
            "prompt_tokens_details": None if cached is None else {"cached_tokens": cached},
            "completion_tokens_details": (
                None if reasoning is None else {"reasoning_tokens": reasoning}
            ),
        }


def call(name: str, /, **arguments: Any) -> Step:
    """A reply that calls a tool."""
    return Step(_json({"name": name, "arguments": arguments}))


def answer(value: Any) -> Step:
    """A reply that answers: with a text, or with a value of the type that the loop asks for."""
    return Step(_json({"answer": value}))


def says(text: str, **fields: Any) -> Step:
    """A reply of any text, as of a turn without tools; `fields` are those of `Step`."""
    return replace(Step(text), **fields)


def cut(text: str) -> Step:
    """A reply that the token limit cut."""
    return Step(text, finish_reason="length")


def refuses(status: int, message: str) -> Step:
    """The engine refuses the request with an HTTP status."""
    return Step(message, status=status)


def dies() -> Step:
    """The engine goes away instead of replying."""
    return Step(dies=True)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(pydantic_core.to_jsonable_python(value))


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()
