"""Python values as JSON that gives the same value again."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError


def pack(value: Any, annotation: Any) -> str | None:
    """The value as JSON; None where that would not give back an equal one.

    Args:
        annotation: its type, or None if there is none.
    """
    try:
        adapter = _adapter(annotation)
        packed = adapter.dump_json(value)
        return packed.decode() if adapter.validate_json(packed) == value else None
    except Exception:  # noqa: BLE001 - comparing and serialising run the code of the value's class
        return None


def unpack(packed: str, annotation: Any) -> Any:
    """The value again.

    Raises:
        ValueError: it does not fit the annotation.
    """
    return _adapter(annotation).validate_json(packed)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return _remembered(annotation)
    except TypeError:  # of no use as a key
        return _made(annotation)


def _made(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(Any if annotation is None else annotation)
    except PydanticUserError:
        return TypeAdapter(Any)


_remembered = lru_cache(maxsize=256)(_made)
