"""`lru`: requests first come first served, finished turns in an LRU prefix cache.

What stock SGLang and vLLM do: the baseline. The KV of an ended program stays until it is the
least recently used, because a request says nothing about programs.
"""

from __future__ import annotations

from agentrt_engine.policy.base import BasePolicy


class Lru(BasePolicy):
    """The defaults, and no notion of a program's end."""

    name = "lru"
    order_only = True
    knows_ends = False
