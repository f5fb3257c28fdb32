"""The settings of the replay and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from agentrt.replay.report.markup import Html, tag
from agentrt.replay.report.view import Section, View, table


def reproduce(view: View) -> Section:
    """Everything the numbers depend on, as the result document has it."""
    document = view.content.document
    rows = [
        row
        for part in ("workload", "engine", "settings")
        for key, value in document.get(part, {}).items()
        for row in _rows(f"{part}: {key}", value)
    ]
    settings = table(
        ["setting", "value"], rows, f"Result {document.get('schema', '')}.", words=("value",)
    )
    return Section("settings", "Settings", _with_command(view, settings))


def _rows(name: str, value: Any) -> Iterator[list[str]]:
    """A line for a value, or one for each part of the objects in a list."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        for each in value:
            for key, part in each.items():
                if part is not None and key != "name":
                    yield [f"engine {each.get('name', '')}: {key}", _value(part)]
    else:
        yield [name, _value(value)]


def _with_command(view: View, settings: Html) -> Html:
    return tag(
        "div",
        settings,
        tag("h3", "To repeat it"),
        tag("pre", tag("code", *_lines(command(view))), tabindex="0"),
    )


def _lines(words: list[str]) -> Iterator[str]:
    """Words for a shell, each flag on a line of its own."""
    for number, word in enumerate(words):
        if number:
            yield Html(" \\\n  ") if word.startswith("--") else " "
        yield shlex.quote(word)


def command(view: View) -> list[str]:
    """The command line, from the settings; `command` among them is taken as it is."""
    document = view.content.document
    settings = dict(document.get("settings", {}))
    if given := settings.pop("command", None):
        return [str(word) for word in given] if isinstance(given, list) else shlex.split(str(given))
    words = ["agentrt", "replay", *map(str, document.get("workload", {}).get("files", []))]
    if view.rows:
        settings.setdefault("policy", [row["policy"] for row in view.rows])
        settings.setdefault("seed", settings.pop("seeds", view.rows[0].get("seeds")))
    if "profile" in document.get("engine", {}):
        settings.setdefault("profile", document["engine"]["profile"])
    return words + list(_flags(settings))


def _flags(settings: dict[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if value is None or value is False or value == []:
            continue
        yield "--" + key.replace("_", "-")
        if value is not True:
            yield _value(value).replace(", ", ",") if isinstance(value, list) else _value(value)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)
