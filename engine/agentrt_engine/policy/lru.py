"""`lru`: requests first come first served, finished turns in an LRU prefix cache."""

from __future__ import annotations

from collections.abc import Sequence

from agentrt_engine.policy.protocol import WaitingTurn


class Lru:
    """What stock SGLang and vLLM do: the queue stays as it is."""

    name = "lru"

    def order(self, waiting: Sequence[WaitingTurn]) -> list[WaitingTurn]:
        return list(waiting)
