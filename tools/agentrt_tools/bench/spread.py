"""Some of many, without leaving a part out."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def spread(entries: list[T], limit: int | None) -> list[T]:
    """At most so many, evenly over all."""
    if limit is None or limit >= len(entries):
        return entries
    return [entries[at * len(entries) // limit] for at in range(limit)]
