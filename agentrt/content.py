"""Prompts, replies, arguments and results, where spans are to show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic_core

from agentrt.chat import ChatReply, Message
from agentrt.secrets import Secrets
from agentrt.text import cut

#: The variable with which OpenTelemetry's instrumentations are asked for content.
CAPTURE_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

#: Its values that ask for content on spans.
_ON_SPANS = {"true", "span_only", "span_and_event"}

#: Characters of content in one attribute; of a history the latest are kept.
CONTENT_LIMIT = 16_000


class Content:
    """Writes content for spans: secrets masked, long texts cut, in the form of the conventions.

    Args:
        secrets: what is not shown.
        limit: characters of content in one attribute.
    """

    def __init__(self, secrets: Secrets, limit: int = CONTENT_LIMIT) -> None:
        self._secrets = secrets
        self._limit = limit

    def text(self, text: str) -> str:
        """A text by itself."""
        return cut(self._secrets.mask(text), self._limit)

    def arguments(self, arguments: Mapping[str, Any]) -> str:
        """Arguments of a tool call as JSON; when they are cut it is none any more."""
        values = pydantic_core.to_jsonable_python(dict(arguments), fallback=str)
        return self.text(_json(values))

    def messages(self, messages: Sequence[Message]) -> str:
        """A history as JSON, without the oldest messages where it is too long."""
        left, shown = self._limit, []
        for message in reversed(messages):
            if left <= 0:
                break
            text = self._secrets.mask(message["content"])
            shown.append({"role": message["role"], "parts": [_part(message, cut(text, left))]})
            left -= len(text)
        return _json(shown[::-1])

    def reply(self, reply: ChatReply) -> str:
        """A reply as JSON."""
        part = {"type": "text", "content": self.text(reply.text)}
        message = {"role": "assistant", "parts": [part], "finish_reason": reply.finish_reason}
        return _json([message])


def asks_for_content(environment: Mapping[str, str]) -> bool:
    """Whether the environment wants content on spans."""
    return environment.get(CAPTURE_VARIABLE, "").strip().lower() in _ON_SPANS


def _part(message: Message, text: str) -> dict[str, str]:
    if message["role"] == "tool":
        identity = message["tool_call_id"]
        return {"type": "tool_call_response", "id": identity, "response": text}
    return {"type": "text", "content": text}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
