"""HTML from parts: text is escaped unless it is already markup."""

from __future__ import annotations

import html
import unicodedata

_VOID = {"br", "meta"}
_BRIEF = 48
#: Characters that reorder the text around them.
_BIDI = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)}


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(element: str, /, *children: str, **attributes: str | None) -> Html:
    """An element. Children that are not `Html` are escaped, as are attributes.

    A trailing underscore of an attribute's name is dropped (`class_`), other underscores
    become hyphens (`aria_label`). An attribute that is None is left out.
    """
    opened = element + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Html(f"<{opened}>")
    return Html(f"<{opened}>{join(*children)}</{element}>")


def join(*children: str) -> Html:
    """Children side by side."""
    return Html("".join(c if isinstance(c, Html) else text(c) for c in children))


def text(value: str) -> Html:
    """Any text, escaped, so that it stays one line of text in its place."""
    return Html(html.escape(visible(value), quote=True))


def brief(name: str) -> str:
    """A name of any length, cut to what a table has room for."""
    return name if len(name) <= _BRIEF else f"{name[: _BRIEF - 1]}…"


def visible(value: str) -> str:
    """The text with control and reordering characters replaced by U+FFFD."""
    if value.isprintable() and not _BIDI.intersection(value):
        return value
    return "".join(
        "\ufffd" if unicodedata.category(c) in {"Cc", "Cs"} or c in _BIDI else c for c in value
    )
