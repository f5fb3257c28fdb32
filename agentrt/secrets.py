"""Secrets, kept out of what a model reads and of what is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "•••"

#: Shorter values are words that occur by chance.
_SHORTEST = 8

#: Names of environment variables whose values are secret.
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)


class Secrets:
    """Values that are shown as `MASK` wherever they occur.

    Args:
        values: those of at least eight characters count.
    """

    def __init__(self, values: Iterable[str]) -> None:
        # The longest first: one secret may begin with another.
        found = sorted({value for value in values if len(value) >= _SHORTEST}, key=len)
        self._pattern = re.compile("|".join(map(re.escape, reversed(found)))) if found else None

    def mask(self, text: str) -> str:
        """The text without them."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def environment_secrets(environment: Mapping[str, str]) -> list[str]:
    """Values of the variables that are called KEY, TOKEN, SECRET, PASSWORD or CREDENTIALS."""
    return [value for name, value in environment.items() if _SECRET_NAME.search(name)]
