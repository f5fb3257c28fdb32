"""Secrets, kept out of what a model reads and of what is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

MASK = "•••"

#: Shorter values are words that occur by chance.
_SHORTEST = 8

#: Names of environment variables whose values are secret.
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)


class Secrets:
    """Values that are shown as `MASK` wherever they occur, inside of JSON too.

    Args:
        values: those of at least eight characters count.
    """

    def __init__(self, values: Iterable[str]) -> None:
        long = [value for value in values if len(value) >= _SHORTEST]
        escaped = [_in_json(value, ascii_only) for value in long for ascii_only in (False, True)]
        # The longest first: one secret may begin with another.
        found = sorted({*long, *escaped}, key=len)
        self._pattern = re.compile("|".join(map(re.escape, reversed(found)))) if found else None

    def mask(self, text: str) -> str:
        """The text without them."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _in_json(value: str, ascii_only: bool) -> str:
    return json.dumps(value, ensure_ascii=ascii_only)[1:-1]


def environment_secrets(environment: Mapping[str, str]) -> list[str]:
    """Values of the variables that are called KEY, TOKEN, SECRET, PASSWORD or CREDENTIALS."""
    return [value for name, value in environment.items() if _SECRET_NAME.search(name)]
