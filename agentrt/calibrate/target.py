"""The server under measurement, as the measuring sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request.

    Attributes:
        program_id: its program; a final one leaves nothing in the server.
    """

    token_ids: list[int]
    output_tokens: int
    program_id: str
    final: bool = True


@dataclass(frozen=True, slots=True)
class Stream:
    """What came back.

    Attributes:
        sent_s: when the request was sent.
        tokens: time of each piece of the answer and output tokens by then, at least one.
        cached_tokens: of the prompt, as the server says; None when it does not.
    """

    sent_s: float
    tokens: list[tuple[float, int]]
    cached_tokens: int | None

    @property
    def first_s(self) -> float:
        """When the first token came."""
        return self.tokens[0][0]

    @property
    def last_s(self) -> float:
        """When the last token came."""
        return self.tokens[-1][0]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself; None where it does not.

    Attributes:
        title: model and device in a few words.
        engine: name and version of the engine.
        context_tokens: longest prompt.
        chunk_tokens: prefilled in one step at most.
        vocabulary: token ids from, and up to, that it accepted.
    """

    url: str
    model: str
    title: str
    engine: str
    kv_tokens: int | None
    kv_bytes_per_token: float | None
    context_tokens: int | None
    max_running: int | None
    chunk_tokens: int | None
    vocabulary: tuple[int, int]


class Target(Protocol):
    """Sends requests."""

    async def run(self, first: Sequence[Prompt], then: Sequence[Prompt] = ()) -> list[Stream]:
        """Send all of `first` at once and wait for their ends.

        Args:
            then: sent as soon as each of `first` has two tokens.

        Returns:
            of each prompt of `first` and then of `then`.

        Raises:
            EngineLost, ModelRequestFailed: the server went away, or refused.
        """
