"""Identity of a program from the body of a request that no header names.

Only the few fields that matter are decoded; the conversation itself is skipped over.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from agentrt_engine.wire.identity import ProgramTag, is_name

_SYSTEM_ROLES = ("system", "developer")


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw()


class _AgentHints(msgspec.Struct):
    priority: float


class _Nvext(msgspec.Struct):
    agent_hints: _AgentHints


class _Fields(msgspec.Struct):
    """What may stand in the body of any API, of whatever type."""

    session_id: Any = None
    prompt_cache_key: Any = None
    nvext: Any = None


class _Conversation(msgspec.Struct):
    """Chat completions (`messages`), Anthropic (`system`), Responses (`instructions`, `input`)."""

    messages: list[_Message] | None = None
    system: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    input: str | list[_Message] | None = None
    previous_response_id: Any = None


def tag_from_body(body: bytes) -> ProgramTag | None:
    """What a JSON body says of its program; None where it cannot be read.

    The id is `session_id`, else `prompt_cache_key`, else a hash of the first system and the
    first user message; none for a bare prompt or tokens, and none for a continuation that the
    client does not repeat (`previous_response_id`).
    """
    try:
        fields = msgspec.json.decode(body, type=_Fields)
        priority = _priority(fields.nvext)
        for name in (fields.session_id, fields.prompt_cache_key):
            if is_name(name):
                return ProgramTag(name, priority=priority)
        hashed = _hash(msgspec.json.decode(body, type=_Conversation))
    except (ValueError, RecursionError):  # SGLang answers what is wrong with it
        return None
    return ProgramTag(hashed or "", fallback=hashed is not None, priority=priority)


def _priority(nvext: Any) -> float | None:
    """Dynamo's, of which higher goes first as well."""
    try:
        return msgspec.convert(nvext, _Nvext).agent_hints.priority
    except msgspec.ValidationError:
        return None


def _hash(body: _Conversation) -> str | None:
    """A name for the conversation by how it begins, None where there is no conversation."""
    if body.previous_response_id is not None:
        return None
    items = body.input if isinstance(body.input, list) else []
    messages = body.messages or items
    system = [body.system, body.instructions]
    system += [message.content for message in messages if message.role in _SYSTEM_ROLES][:1]
    user = [_text(message.content) for message in messages if message.role == "user"][:1]
    if isinstance(body.input, str):
        user = [body.input]
    if not user:
        return None
    beginning = ["".join(map(_text, system)), *user]
    return f"hash-{hashlib.sha256(msgspec.json.encode(beginning)).hexdigest()[:32]}"


def _text(content: msgspec.Raw) -> str:
    """The content without what may change from turn to turn: marks of where to cache."""
    if not bytes(content):
        return ""
    value = msgspec.json.decode(content)
    if isinstance(value, str):
        return value
    blocks = value if isinstance(value, list) else [value]
    return "".join(_block_text(block) for block in blocks)


def _block_text(block: Any) -> str:
    if not isinstance(block, dict):
        return block if isinstance(block, str) else ""
    text = block.get("text")
    if isinstance(text, str):
        return text
    lasting = {name: value for name, value in block.items() if name != "cache_control"}
    return msgspec.json.encode(lasting, order="sorted").decode()
