"""What policies learn, as JSON-able data that outlives an engine: common parts of the format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from agentrt_engine.errors import SettingError
from agentrt_engine.policy.running_mean import finite

VERSION = 1

_Found = TypeVar("_Found")


def check_version(learned: Mapping[str, Any]) -> None:
    """Raises `SettingError` for what another version of a policy learned."""
    field(learned, "version", _version)


def field(learned: Mapping[str, Any], name: str, load: Callable[[Any], _Found]) -> _Found:
    """A part of what was learned.

    Args:
        load: makes it from the data; raises what it likes when that is damaged.

    Raises:
        SettingError: it is missing or damaged; the message names it.
    """
    try:
        return load(learned[name])
    except SettingError as error:
        raise _damaged(name, str(error)) from error
    except (
        ArithmeticError,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise _damaged(name, repr(error)) from error


def positive(value: object) -> float:
    """The number `value` is, at least 0; ValueError or TypeError when it is none."""
    number = finite(value)
    if number < 0.0:
        raise ValueError(f"{value!r}, expected at least 0")
    return number


def whole(value: object) -> int:
    """The count `value` is, at least 0; ValueError or TypeError when it is none."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r}, expected a whole number, 0 or more")
    return value


def _version(value: object) -> None:
    if value != VERSION:
        raise ValueError(f"{value!r}, expected {VERSION}")


def _damaged(name: str, what: str) -> SettingError:
    return SettingError(
        f"learned statistics: field {name}: {what}",
        hint="leave the file out or delete it; what it holds is learned again",
    )
