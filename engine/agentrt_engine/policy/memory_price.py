"""What a token of KV memory is worth, per second, to the batch that runs.

    λ = φ / (KV tokens running)

φ is the share of a step that it takes whatever is in it. More memory lets more turns run in each
step, so that fewer steps pay that share. Both are 10 s means.
Source: design of this project; see docs/policies.md.
"""

from __future__ import annotations

import math

#: Time constant of the means, seconds of work.
HORIZON_S = 10.0

#: With nothing running for this long, memory has any price: whoever waits gets it.
IDLE_S = 2.0


class MemoryPrice:
    """λ from what the engine did.

    Args:
        factor: on λ.
    """

    __slots__ = ("_batch_end_s", "_factor", "_fixed", "_kv", "_running")

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._running = 0.0
        self._kv = 0.0
        self._fixed = 1.0
        self._batch_end_s = 0.0

    @property
    def mean(self) -> float:
        """λ, GPU-seconds per token-second; 0 before anything ran."""
        return self._factor * self._fixed / self._kv if self._kv else 0.0

    def when_idle(self, now: float) -> float:
        """λ while nothing runs: that of a single turn at least, and soon without a limit."""
        if now - self._batch_end_s > IDLE_S:
            return math.inf
        per_turn = self._kv / self._running if self._running else 0.0
        return max(self.mean, self._factor / per_turn if per_turn else 0.0)

    def stepped(
        self, now: float, seconds: float, running: float, kv_tokens: float, fixed: float
    ) -> None:
        """The engine worked until now; see `Policy.stepped`."""
        weight = 1 - math.exp(-seconds / HORIZON_S)
        self._running += weight * (running - self._running)
        self._kv += weight * (kv_tokens - self._kv)
        self._fixed += weight * (fixed - self._fixed)
        self._batch_end_s = now
