"""The text of an answer, read out of a reply while the model still writes it."""

from __future__ import annotations

import json
import re

#: How a reply begins that answers with a text.
_OPENING = re.compile(r'\s*\{\s*"answer"\s*:\s*"')

#: Whole characters of a JSON string: plain ones, and escapes, of which two may be one character.
_CHARACTERS = re.compile(
    r'(?:[^"\\]'
    r"|\\[^u]"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[0-9a-fA-F]{4}|(?=[^\\]|\\[^u]))"
    r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4})*",
    re.DOTALL,
)


class AnswerText:
    """Finds the text in `{"answer": "…"}`, piece by piece.

    Args:
        is_free: the whole reply is the answer.
    """

    def __init__(self, *, is_free: bool) -> None:
        self._is_free = is_free
        self._began = False
        self._unread = ""

    def feed(self, piece: str) -> str:
        """What some more of the reply adds to the text of the answer."""
        if self._is_free:
            return piece
        self._unread += piece
        if not self._began:
            opening = _OPENING.match(self._unread)
            if opening is None:
                return ""
            self._began = True
            self._unread = self._unread[opening.end() :]
        whole = _CHARACTERS.match(self._unread)
        assert whole is not None, "the pattern matches an empty string, too"
        # What is left begins with the quote that ends the string, or with half an escape.
        self._unread = self._unread[whole.end() :]
        # Not strict: the grammars of engines let raw control characters into strings.
        text: str = json.loads(f'"{whole[0]}"', strict=False)
        return text
