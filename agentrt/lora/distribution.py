"""How far two distributions of the next token are apart, of which only the likeliest are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

#: What is left to the tokens that are not listed is known to this, as probabilities come in
#: float32. A difference of distributions below it says nothing.
ROUNDING = 1e-6


@dataclass(frozen=True)
class TopTokens:
    """The likeliest next tokens.

    Attributes:
        log_probs: by token id, natural logarithms; at least one.
    """

    log_probs: Mapping[int, float]

    @cached_property
    def best(self) -> int:
        """The likeliest token, of equals the lowest id: what greedy decoding takes."""
        return min(self.log_probs, key=lambda token: (-self.log_probs[token], token))


def kl_lower_bound(exact: TopTokens, approximate: TopTokens) -> float:
    """Kullback-Leibler divergence KL(exact ‖ approximate) in nats, from below.

    Tokens that both list count one by one, all others together as one event. Joining events never
    enlarges a divergence (log-sum inequality), so this is at most the divergence over the whole
    vocabulary, up to `ROUNDING`, and equal to it when both list every token.
    """
    listed = exact.log_probs.keys() & approximate.log_probs.keys()
    terms = []
    for token in listed:
        log_exact = exact.log_probs[token]
        terms.append(math.exp(log_exact) * (log_exact - approximate.log_probs[token]))
    rest_exact, rest_approximate = (
        max(ROUNDING, 1 - math.fsum(math.exp(of.log_probs[token]) for token in listed))
        for of in (exact, approximate)
    )
    terms.append(rest_exact * math.log(rest_exact / rest_approximate))
    return max(0.0, math.fsum(terms))
