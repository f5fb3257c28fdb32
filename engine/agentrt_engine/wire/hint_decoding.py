"""Reads the body of `POST /agentrt/hints`, which anyone may have written.

Three forms: one hint, a list of hints, or the KV-hint envelope that SGLang and vLLM share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from agentrt_engine.errors import AgentrtError
from agentrt_engine.wire.hints import MAX_HINTS, MAX_NAME, Hint, HintKind
from agentrt_engine.wire.identity import MAX_TURNS, is_name

MAX_QUANTILES = 16

#: Longest time that is understood, seconds: a year.
MAX_SECONDS = 366 * 86_400.0
MAX_PRIORITY = 1e9

_OUTCOMES = ("finished", "failed", "timed_out", "cancelled")
_ACTIONS = {
    "Share": HintKind.SHARE,
    "Prefetch": HintKind.PREFETCH,
    "Demote": HintKind.DEMOTE,
    "Pin": HintKind.PIN,
    "Retain": HintKind.RETAIN,
}


class InvalidHint(AgentrtError):
    """A body of hints that cannot be read.

    Args:
        field: path of what is wrong, such as `$[3].expected_s["0.5"]`.
        expected: what should be there.
    """

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}")
        self.field = field


class HintBatch(msgspec.Struct, frozen=True):
    """The hints of one request.

    Attributes:
        action_ids: of the envelope's actions, one for each hint; None for the other forms.
    """

    hints: list[Hint]
    action_ids: list[str] | None = None


def decode_hints(body: bytes) -> HintBatch:
    """The hints in a body.

    Raises:
        InvalidHint: it is no JSON, no hints, too many, or a value is out of range.
    """
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise InvalidHint("$", f"JSON, found something else ({error})") from error
    if isinstance(value, list):
        _limit(value, "$")
        return HintBatch([_hint(item, f"$[{i}]") for i, item in enumerate(value)])
    if isinstance(value, dict) and "actions" in value:
        return _envelope(value)
    return HintBatch([_hint(value, "$")])


def _limit(items: list[Any], path: str) -> None:
    if len(items) > MAX_HINTS:
        raise InvalidHint(path, f"at most {MAX_HINTS} hints, found {len(items)}")


def _envelope(value: Mapping[str, Any]) -> HintBatch:
    actions = value["actions"]
    if not isinstance(actions, list):
        raise InvalidHint("$.actions", "a list of actions")
    _limit(actions, "$.actions")
    pairs = [_action(action, f"$.actions[{i}]") for i, action in enumerate(actions)]
    return HintBatch([hint for _, hint in pairs], [action_id for action_id, _ in pairs])


def _action(action: Any, path: str) -> tuple[str, Hint]:
    if not isinstance(action, dict):
        raise InvalidHint(path, "an action, an object")
    action_id = action.get("action_id")
    if not is_name(action_id):
        raise InvalidHint(f"{path}.action_id", _NAME)
    kind = _ACTIONS.get(str(action.get("action_type")).capitalize())
    if kind is None:
        raise InvalidHint(f"{path}.action_type", ", ".join(_ACTIONS))
    payload = action.get("payload")
    if not isinstance(payload, dict):
        raise InvalidHint(f"{path}.payload", "an object")
    name = "program_id" if "program_id" in payload else "session_id"
    if not is_name(payload.get(name)):
        raise InvalidHint(f"{path}.payload.{name}", _NAME)
    hint = Hint(payload[name], kind, ttl_s=_ttl(payload, f"{path}.payload"))
    _check_complete(hint, f"{path}.payload")
    return str(action_id), hint


def _ttl(payload: Mapping[str, Any], path: str) -> float | None:
    """Seconds; other fields of a payload are another consumer's."""
    if payload.get("ttl_s") is not None:
        return _number(payload["ttl_s"], f"{path}.ttl_s", 0.0, MAX_SECONDS, _SECONDS)
    if payload.get("ttl_ms") is not None:
        milliseconds = _number(payload["ttl_ms"], f"{path}.ttl_ms", 0.0, MAX_SECONDS * 1e3, _MS)
        return milliseconds / 1e3
    return None


_NAME = f"1 to {MAX_NAME} printable characters"
_SECONDS = f"seconds, from 0 to {MAX_SECONDS:.0f}"
_MS = f"milliseconds, from 0 to {MAX_SECONDS * 1e3:.0f}"


def _hint(item: Any, path: str) -> Hint:
    if not isinstance(item, dict):
        raise InvalidHint(path, "a hint, an object")
    for name in ("program_id", "tool", "call_id"):
        if item.get(name) is not None and not is_name(item[name]):
            raise InvalidHint(f"{path}.{name}", _NAME)
    if len(str(item.get("signature", ""))) > MAX_NAME:
        raise InvalidHint(f"{path}.signature", f"at most {MAX_NAME} characters")
    if item.get("expected_s") is not None:
        _check_quantiles(item["expected_s"], f"{path}.expected_s")
    for name, (least, most, expected) in _RANGES.items():
        if item.get(name) is not None:
            _number(item[name], f"{path}.{name}", least, most, expected)
    if item.get("outcome") not in (None, *_OUTCOMES):
        raise InvalidHint(f"{path}.outcome", ", ".join(_OUTCOMES))
    try:
        hint = msgspec.convert(item, Hint)
    except msgspec.ValidationError as error:
        raise _from_msgspec(str(error), path) from error
    _check_complete(hint, path)
    return hint


#: Fields of which a hint of that kind must have one, or it says nothing.
_NEEDS = {
    HintKind.TOOL_PROGRESS: ("progress",),
    HintKind.REMAINING: ("remaining_turns", "remaining_s"),
    HintKind.PRIORITY: ("priority",),
    HintKind.PIN: ("ttl_s",),
}


def _check_complete(hint: Hint, path: str) -> None:
    names = _NEEDS.get(hint.kind, ())
    if names and all(getattr(hint, name) is None for name in names):
        raise InvalidHint(f"{path}.{names[0]}", f"a value: the hint is {hint.kind.value}")


_RANGES = {
    "progress": (math.ulp(0.0), 1.0, "a share of the tool call, above 0 and up to 1"),
    "remaining_turns": (0, MAX_TURNS, f"turns, a whole number from 0 to {MAX_TURNS}"),
    "remaining_s": (0.0, MAX_SECONDS, _SECONDS),
    "priority": (-MAX_PRIORITY, MAX_PRIORITY, f"a number within {MAX_PRIORITY:.0f} of 0"),
    "ttl_s": (0.0, MAX_SECONDS, _SECONDS),
}


def _number(value: Any, path: str, least: float, most: float, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidHint(path, expected)
    return value


def _check_quantiles(quantiles: Any, path: str) -> None:
    if not isinstance(quantiles, dict) or not 0 < len(quantiles) <= MAX_QUANTILES:
        raise InvalidHint(path, f"an object of 1 to {MAX_QUANTILES} quantiles")
    for key, seconds in quantiles.items():
        at = f"{path}[{msgspec.json.encode(key[:MAX_NAME]).decode()}]"
        if not 0.0 < _quantile(key) < 1.0:
            raise InvalidHint(at, "a key above 0 and below 1, such as 0.5")
        _number(seconds, at, 0.0, MAX_SECONDS, _SECONDS)


def _quantile(key: str) -> float:
    try:
        return float(key)
    except ValueError:
        return math.nan


_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"missing required field `(.*)`")
_AT = re.compile(r"^(.*) - at `\$(.*)`$", re.DOTALL)
_EXPECTED = re.compile(r"^Expected `(.*)`, got `(.*)`$", re.DOTALL)


def _from_msgspec(message: str, path: str) -> InvalidHint:
    """msgspec's words, with the path of the whole body."""
    if found := _UNKNOWN.search(message):
        known = ", ".join(Hint.__struct_fields__)
        return InvalidHint(f"{path}.{found[1][:MAX_NAME]}", f"no such field, only {known}")
    if found := _MISSING.search(message):
        return InvalidHint(f"{path}.{found[1]}", "a value")
    if found := _AT.match(message):
        message, path = found[1], path + found[2]
    if path.endswith(".kind"):
        return InvalidHint(path, ", ".join(HintKind))
    if found := _EXPECTED.match(message):
        return InvalidHint(path, f"{found[1].removesuffix(' | null')}, found {found[2]}")
    return InvalidHint(path, f"another value ({message.replace('`', '')})")
