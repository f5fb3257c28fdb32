"""Fenced blocks of the documentation, and what is said about how each of them is tested.

A comment above a block may name how it is run; without one it is run as it stands.

    <!-- test: engine -->            with the engine of the test session behind AGENTRT_URL
    <!-- test: scripted [...] -->    with an engine there that gives these replies, a JSON array
    <!-- test: parse (reason) -->    not run: checked for syntax, commands and flags
    <!-- file: NAME.py -->           also written to NAME.py, for the other blocks of the page,
                                     or of all pages where it stands in the README
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

#: Languages of blocks. The last two are not commands or code: json must be JSON, text is free.
LANGUAGES = ("bash", "console", "python", "toml", "json", "text")

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>.*)$")
_COMMENT = re.compile(r"^ *<!--\s*(?P<kind>test|file):\s*(?P<value>.*?)\s*-->$")


class How(StrEnum):
    """How a block is tested."""

    RUN = "run"
    ENGINE = "engine"
    SCRIPTED = "scripted"
    PARSE = "parse"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: file, relative to the root of the repository.
        line: of the opening fence.
        language: one of `LANGUAGES`.
        text: what stands between the fences.
        how: how it is tested.
        replies: of the scripted engine, in order.
        file: name under which other blocks find it.
    """

    page: str
    line: int
    language: str
    text: str
    how: How = How.RUN
    replies: tuple[Any, ...] = ()
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "traces").glob("*.md")),
    ]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page.

    Raises:
        ValueError: a block has no language or an unknown one, is not closed, or a mark is not
            understood; the message names the place.
    """
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    return list(_read(name, page.read_text("utf-8").splitlines()))


def prose_of(page: Path) -> str:
    """The page without its blocks; line numbers stay."""
    lines = page.read_text("utf-8").splitlines()
    for block in blocks_of(page):
        for number in range(block.line - 1, block.line + len(block.text.splitlines()) + 1):
            lines[number] = ""
    return "\n".join(lines)


def _read(page: str, lines: list[str]) -> Iterator[Block]:
    marks = Block(page, 0, "", "")
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        if comment := _COMMENT.match(line):
            marks = _marked(marks, comment["kind"], comment["value"], f"{page}:{number}")
        elif fence := _FENCE.match(line):
            language = fence["language"].strip()
            if language not in LANGUAGES:
                raise ValueError(
                    f"{page}:{number}: a block of language {language!r}; "
                    f"expected one of {', '.join(LANGUAGES)}"
                )
            content: list[str] = []
            for _, inner in numbered:
                if inner == fence["indent"] + fence["fence"]:
                    break
                content.append(inner.removeprefix(fence["indent"]))
            else:
                raise ValueError(f"{page}:{number}: this block is not closed")
            text = "\n".join(content) + "\n"
            yield replace(marks, line=number, language=language, text=text)
            marks = Block(page, 0, "", "")
        elif line.strip() and marks != Block(page, 0, "", ""):
            raise ValueError(f"{page}:{number}: a mark stands above this line instead of a block")


def _marked(marks: Block, kind: str, value: str, where: str) -> Block:
    if kind == "file":
        return replace(marks, file=value)
    name, _, rest = value.partition(" ")
    if name == How.ENGINE and not rest:
        return replace(marks, how=How.ENGINE)
    if name == How.SCRIPTED and rest:
        return replace(marks, how=How.SCRIPTED, replies=tuple(json.loads(rest)))
    if name == How.PARSE and re.fullmatch(r"\(.+\)", rest):
        return replace(marks, how=How.PARSE)
    raise ValueError(
        f"{where}: {value!r} is not a mark; expected engine, scripted [REPLIES] or parse (REASON)"
    )
