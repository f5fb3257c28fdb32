"""Numbers as users write them on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agentrt.errors import SettingError

_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
_TOKENS = re.compile(r"(\d+(?:[_,]\d{3})*(?:\.\d+)?)\s*([km]?)", re.IGNORECASE)
_SEEDS = re.compile(r"(\d+)(?:-(\d+))?")


def token_count(option: str, text: str) -> int:
    """Tokens from `400000`, `400_000`, `400k` or `1.5M`.

    Raises:
        SettingError: the text is none of these, or not at least 1.
    """
    match = _TOKENS.fullmatch(text.strip())
    tokens = 0
    if match:
        number = match[1].replace("_", "").replace(",", "")
        tokens = round(float(number) * _FACTORS[match[2].lower()])
    if tokens < 1:
        raise SettingError(
            f"{option} {text}: expected a number of tokens", hint=f"e.g. {option} 400k"
        )
    return tokens


def seed_list(texts: Iterable[str]) -> list[int]:
    """Seeds from `1,2,3`, `1-20` or both, each once.

    Raises:
        SettingError: a piece is neither a whole number nor a range.
    """
    seeds: list[int] = []
    for piece in (piece.strip() for text in texts for piece in text.split(",")):
        match = _SEEDS.fullmatch(piece)
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]):
            raise SettingError(
                f"--seed {piece}: expected a whole number or a range", hint="e.g. --seed 1,2,3"
            )
        seeds += range(int(match[1]), last + 1)
    return list(dict.fromkeys(seeds))


def whole_numbers(option: str, text: str) -> list[int]:
    """Numbers from `4,8,16`, each at least 1, in rising order, each once.

    Raises:
        SettingError: a piece is no such number.
    """
    pieces = [piece.strip() for piece in text.split(",")]
    for piece in pieces:
        if not piece.isdecimal() or int(piece) < 1:
            raise SettingError(
                f"{option} {text}: {piece!r} is not a whole number from 1 on",
                hint=f"e.g. {option} 4,8,16,32",
            )
    return sorted({int(piece) for piece in pieces})
