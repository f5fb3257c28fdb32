"""How many tokens a prompt has, where no engine says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from agentrt.errors import ModelNotFound
from agentrt_engine.models.folder import resolve_model

#: Characters of a token, on average, where there is no tokenizer.
_CHARACTERS = 4

#: What a chat template puts around a message, tokens.
_AROUND = 4

#: Texts whose length is kept: messages come again in every prompt after them.
_KEPT = 20_000


class TokenCounter:
    """Counts with the tokenizer of the default model, where that is here; else it estimates.

    Attributes:
        how: in words, for whoever reads the figures.
    """

    def __init__(self) -> None:
        self.how, count = _counter()
        self._count = lru_cache(maxsize=_KEPT)(count)

    def text(self, text: str) -> int:
        """Tokens of a text."""
        return self._count(text)

    def prompt(self, messages: Sequence[dict[str, Any]], tools: Sequence[Any]) -> int:
        """Tokens of a chat prompt that lists tools."""
        listed = sum(self._count(json.dumps(tool)) for tool in tools)
        return listed + sum(self._count(each["content"] or "") + _AROUND for each in messages)


def _counter() -> tuple[str, Callable[[str], int]]:
    try:
        # Comes with an engine.
        from tokenizers import Tokenizer

        folder = resolve_model()
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (ImportError, ModelNotFound):
        return f"characters / {_CHARACTERS}", lambda text: -(-len(text) // _CHARACTERS)
    return f"tokenizer of {folder.name}", lambda text: len(tokenizer.encode(text).ids)
