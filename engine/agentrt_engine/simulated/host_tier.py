"""Copies of KV in host memory: written through as turns end, read back over one channel."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from agentrt_engine.policy.program import Context


@dataclass(slots=True)
class HostTier:
    """Host memory beside the GPU.

    Args:
        capacity: tokens.
        per_token: virtual time to bring a token back.
        latency: virtual time of each transfer on top.

    Writing is free: it runs beside the computation and is never waited for.
    """

    capacity: int
    per_token: int
    latency: int
    used: int = 0
    _free_at: int = 0
    _copies: dict[Context, int] = field(default_factory=dict)

    def write(self, context: Context, drop: Callable[[Collection[Context]], Context]) -> None:
        """Copy an idle context, dropping others' copies if it does not fit.

        Args:
            drop: which of the copies goes.
        """
        self.forget(context)
        if not context.tokens or context.hole:
            return
        self._copies[context] = context.tokens
        context.host_tokens = context.tokens
        self.used += context.tokens
        while self.used > self.capacity:
            self.forget(drop(self._copies))

    def forget(self, context: Context) -> None:
        """Drop a copy, if there is one."""
        self.used -= self._copies.pop(context, 0)
        context.host_tokens = 0

    def duration(self, now: int, tokens: int) -> int:
        """From now until so many tokens would be back, transfers before them included."""
        return max(0, self._free_at - now) + self.latency + tokens * self.per_token

    def read(self, now: int, tokens: int) -> int:
        """Bring tokens back; returns when they are there."""
        self._free_at = now + self.duration(now, tokens)
        return self._free_at
