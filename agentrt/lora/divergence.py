"""Figures of one pair of adapters: what the second says after the first one's KV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from agentrt.lora.distribution import TopTokens, kl_lower_bound


class Comparison(msgspec.Struct, frozen=True):
    """One reply, scored twice.

    Attributes:
        prompt: number of the prompt, from 0.
        context_tokens: of the prompt.
        reused_tokens: of these, whose KV was there when sharing.
        kl: per token of the reply, nats, each a lower bound.
        first_difference: the first token of the reply, counted from 1, in whose place greedy
            decoding takes another when sharing; None where there is none.
        agreeing: tokens in whose place both take the same.
    """

    prompt: int
    context_tokens: int
    reused_tokens: int
    kl: tuple[float, ...]
    first_difference: int | None
    agreeing: int


def compare(
    prompt: int,
    context_tokens: int,
    reused_tokens: int,
    unshared: Sequence[TopTokens],
    shared: Sequence[TopTokens],
) -> Comparison:
    """Compare what an adapter expects at each token of a reply, without and with sharing.

    Args:
        unshared, shared: of the same length, at least one.
    """
    pairs = list(zip(unshared, shared, strict=True))
    same = [exact.best == approximate.best for exact, approximate in pairs]
    return Comparison(
        prompt=prompt,
        context_tokens=context_tokens,
        reused_tokens=reused_tokens,
        kl=tuple(kl_lower_bound(exact, approximate) for exact, approximate in pairs),
        first_difference=None if all(same) else same.index(False) + 1,
        agreeing=sum(same),
    )


class PairDivergence(msgspec.Struct, frozen=True):
    """All comparisons of one pair; if both are one adapter, of what is exact.

    Attributes:
        producer: adapter that left the KV of the context.
        consumer: adapter that replies.
        comparisons: at least one.
    """

    producer: str
    consumer: str
    comparisons: tuple[Comparison, ...]

    @property
    def tokens(self) -> int:
        """Tokens that were compared."""
        return len(self._kl())

    @property
    def reused(self) -> float:
        """Share of the contexts' tokens that were reused."""
        contexts = sum(each.context_tokens for each in self.comparisons)
        return sum(each.reused_tokens for each in self.comparisons) / contexts

    @property
    def mean_kl(self) -> float:
        """Nats per token."""
        return math.fsum(self._kl()) / self.tokens

    @property
    def max_kl(self) -> float:
        """Nats, of the worst token."""
        return max(self._kl())

    @property
    def agreement(self) -> float:
        """Share of tokens in whose place greedy decoding takes the same."""
        return sum(each.agreeing for each in self.comparisons) / self.tokens

    @property
    def changed(self) -> int:
        """Replies in which some token differs."""
        return sum(each.first_difference is not None for each in self.comparisons)

    @property
    def first_difference(self) -> int | None:
        """The earliest of all replies."""
        found = [each.first_difference for each in self.comparisons if each.first_difference]
        return min(found, default=None)

    def kl_quantile(self, share: float) -> float:
        """The smallest divergence that so large a share of the tokens does not exceed, nats."""
        ordered = sorted(self._kl())
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def document(self) -> dict[str, Any]:
        """As a JSON object, figures first."""
        return {
            "producer": self.producer,
            "consumer": self.consumer,
            "tokens": self.tokens,
            "reused": self.reused,
            "mean_kl": self.mean_kl,
            "p95_kl": self.kl_quantile(0.95),
            "max_kl": self.max_kl,
            "agreement": self.agreement,
            "changed_replies": self.changed,
            "first_difference": self.first_difference,
            "comparisons": self.comparisons,
        }

    def _kl(self) -> list[float]:
        return [value for each in self.comparisons for value in each.kl]
