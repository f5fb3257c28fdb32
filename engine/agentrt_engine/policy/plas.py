"""`plas`: the program that has received the least service first.

Source: Autellix (program-level attained service), without its preemption of running turns.
Service is tokens prefilled and generated; cache hits are free.
"""

from __future__ import annotations

from agentrt_engine.policy.base import BasePolicy
from agentrt_engine.policy.program import Turn
from agentrt_engine.policy.protocol import Rank


class Plas(BasePolicy):
    """Program-level attained service."""

    name = "plas"

    def rank(self, now: float, turn: Turn) -> Rank:
        return (not turn.preempted, turn.program.served_tokens, turn.program.seniority)
