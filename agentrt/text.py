"""Text cut to a limit, with a note that says so."""

from __future__ import annotations


def cut(text: str, limit: int) -> str:
    """The text, or its first `limit` characters and a line that says how many are missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[cut: {limit:,} of {len(text):,} characters shown]"


def excerpt(text: str, limit: int = 200) -> str:
    """The beginning of a text for use inside a message, quoted."""
    return repr(text) if len(text) <= limit else repr(text[:limit]) + "…"
