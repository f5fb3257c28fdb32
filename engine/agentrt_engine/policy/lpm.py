"""`lpm`: the turn with the longest cached prefix first, finished turns in an LRU cache.

Source: SGLang's `--schedule-policy lpm`, which falls back to first come first served when more
than 128 turns wait (matching every prompt is expensive).
"""

from __future__ import annotations

from agentrt_engine.policy.base import BasePolicy
from agentrt_engine.policy.program import Turn
from agentrt_engine.policy.protocol import EngineView, Rank

MAX_MATCHED = 128


class Lpm(BasePolicy):
    """Longest prefix match."""

    name = "lpm"
    knows_ends = False
    ranks_are_fixed = False
    needs_hits = True

    def __init__(self) -> None:
        self._matches = True

    def open_gate(self, now: float, engine: EngineView) -> None:
        self._matches = engine.waiting <= MAX_MATCHED

    def rank(self, now: float, turn: Turn) -> Rank:
        hits = -turn.hit_tokens if self._matches else 0
        return (not turn.preempted, hits, turn.queued_s)
