"""Identity of a program on the wire: which request belongs to which run of an agent.

The names are those that routers, engines and agents of the field already use (SGLang's gateway,
NVIDIA Dynamo, Claude Code, Codex); ours come first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from agentrt_engine.wire.hints import MAX_NAME

PROGRAM_ID = "X-Agentrt-Program-ID"
PARENT_ID = "X-Agentrt-Parent-ID"
FINAL = "X-Agentrt-Final"
LORA_SHARING = "X-Agentrt-Lora-Sharing"

DYNAMO_SESSION_ID = "X-Dynamo-Session-ID"
DYNAMO_PARENT_ID = "X-Dynamo-Parent-Session-ID"
DYNAMO_FINAL = "X-Dynamo-Session-Final"
ROUTING_KEY = "x-smg-routing-key"
REQUEST_ID = "x-request-id"

#: Headers that may carry each part, the first that does counts.
PROGRAM_HEADERS = (
    PROGRAM_ID,
    DYNAMO_SESSION_ID,
    "x-session-id",
    "x-claude-code-session-id",
    "session-id",
)
PARENT_HEADERS = (
    PARENT_ID,
    DYNAMO_PARENT_ID,
    "x-parent-session-id",
    "x-claude-code-parent-agent-id",
)
FINAL_HEADERS = (FINAL, DYNAMO_FINAL)

#: Turns a program may be said to take; more is no help, and IPC carries no integer of any size.
MAX_TURNS = 1_000_000

_FLAGS = {"true": True, "1": True, "false": False, "0": False}

_T = TypeVar("_T")
_N = TypeVar("_N", bound=float)

#: Key under which `ProgramTag` travels in SGLang's free-form `custom_params`.
CUSTOM_PARAMS_KEY = "agentrt"


class ProgramTag(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the scheduler is told about the program behind a request.

    Attributes:
        program_id: one run of an agent, from its first turn to its last; "" where the request
            names none: then the longest earlier prompt that is a prefix tells.
        parent_id: the program that started this one.
        final: this is the program's last turn.
        owner: short name of the API key the request came with, "" without keys. The engine sets
            it, whatever a client says.
        fallback: the id is a hash of how the conversation begins, so that two programs may
            share it.
        agent: name of the agent that runs.
        max_turns: turns the program may take at most, those it had included.
        remaining_s: engine work the program has left, seconds.
        priority: 0 is usual, higher goes first.
        lora_sharing: the request may read KV that other adapters wrote, and they what it writes,
            as far as the engine's mode goes; unsaid is no.
    """

    program_id: str = ""
    parent_id: str | None = None
    final: bool = False
    owner: str = ""
    fallback: bool = False
    agent: str | None = None
    max_turns: int | None = None
    remaining_s: float | None = None
    priority: float | None = None
    lora_sharing: bool | None = None

    def headers(self, request_id: str) -> dict[str, str]:
        """HTTP headers that carry the tag through routers to any engine."""
        headers = {
            REQUEST_ID: request_id,
            PROGRAM_ID: self.program_id,
            DYNAMO_SESSION_ID: self.program_id,
            ROUTING_KEY: self.program_id,
        }
        if self.parent_id is not None:
            headers |= {PARENT_ID: self.parent_id, DYNAMO_PARENT_ID: self.parent_id}
        if self.final:
            headers |= {FINAL: "true", DYNAMO_FINAL: "true"}
        if self.lora_sharing is not None:
            headers[LORA_SHARING] = str(self.lora_sharing).lower()
        return headers

    def custom_params(self) -> dict[str, Any]:
        """Value of the `custom_params` field of a request to SGLang."""
        return {CUSTOM_PARAMS_KEY: msgspec.to_builtins(self)}


def is_name(text: object) -> bool:
    """Whether this may be an id or a name: 1 to `MAX_NAME` printable characters."""
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME and text.isprintable()


def tag_from_custom_params(custom_params: Mapping[str, Any] | None) -> ProgramTag | None:
    """The tag a request carries, or None when it carries none that is well formed."""
    if not custom_params or CUSTOM_PARAMS_KEY not in custom_params:
        return None
    try:
        return msgspec.convert(custom_params[CUSTOM_PARAMS_KEY], ProgramTag)
    except msgspec.ValidationError:
        return None


def tag_from_headers(headers: Mapping[str, str]) -> ProgramTag:
    """What the headers of a request say; their names in lower case, odd values ignored."""

    def first(names: tuple[str, ...]) -> str | None:
        values = (headers.get(name.lower(), "").strip() for name in names)
        return next((value for value in values if is_name(value)), None)

    def flag(name: str) -> bool | None:
        return _FLAGS.get(headers.get(name.lower(), "").strip().lower())

    return ProgramTag(
        program_id=first(PROGRAM_HEADERS) or "",
        parent_id=first(PARENT_HEADERS),
        final=any(map(flag, FINAL_HEADERS)),
        lora_sharing=flag(LORA_SHARING),
    )


def merge(owner: str, *sources: ProgramTag | None) -> ProgramTag:
    """One tag: each part from the first source that has a usable value.

    Args:
        owner: of the request; the sources' own are ignored.
        sources: headers first, then what the body says.
    """
    tags = [_usable(source) for source in sources if source is not None]
    named = next((tag for tag in tags if tag.program_id), ProgramTag())
    parent_id = _first(tag.parent_id for tag in tags)
    return ProgramTag(
        program_id=named.program_id,
        parent_id=None if parent_id == named.program_id else parent_id,
        # The next request of a program that nobody named looks like this one: it has no last.
        final=bool(named.program_id) and not named.fallback and any(tag.final for tag in tags),
        owner=owner,
        fallback=named.fallback,
        agent=_first(tag.agent for tag in tags),
        max_turns=_first(tag.max_turns for tag in tags),
        remaining_s=_first(tag.remaining_s for tag in tags),
        priority=_first(tag.priority for tag in tags),
        lora_sharing=_first(tag.lora_sharing for tag in tags),
    )


def _usable(tag: ProgramTag) -> ProgramTag:
    """The tag without values that mean nothing."""

    def within(number: _N | None, least: float, most: float = sys.float_info.max) -> _N | None:
        return number if number is not None and least <= number <= most else None

    return msgspec.structs.replace(
        tag,
        program_id=tag.program_id if is_name(tag.program_id) else "",
        parent_id=tag.parent_id if is_name(tag.parent_id) else None,
        agent=tag.agent if is_name(tag.agent) else None,
        max_turns=within(tag.max_turns, 1, MAX_TURNS - 1),
        remaining_s=within(tag.remaining_s, 0.0),
        priority=within(tag.priority, -sys.float_info.max),
    )


def _first(values: Iterable[_T | None]) -> _T | None:
    return next((value for value in values if value is not None), None)
