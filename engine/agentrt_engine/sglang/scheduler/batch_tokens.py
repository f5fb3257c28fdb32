"""KV tokens of decoding batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Steps after which a batch is counted anew: speculative decoding adds more than one token a step.
RECOUNT = 64


class BatchTokens:
    """Counts a batch when requests come or go; else each has one token more than a step before."""

    def __init__(self) -> None:
        self._reqs: Sequence[Any] = ()
        self._tokens = 0
        self._steps = 0

    def of(self, reqs: Sequence[Any]) -> int:
        """Tokens of the requests that were decoded in this step.

        Args:
            reqs: of SGLang, with their `seqlen`.
        """
        self._steps += 1
        if self._steps < RECOUNT and reqs == self._reqs:
            self._tokens += len(reqs)
        else:
            self._reqs, self._steps = list(reqs), 0
            self._tokens = sum(req.seqlen for req in reqs)
        return self._tokens
