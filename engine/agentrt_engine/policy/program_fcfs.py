"""`program-fcfs`: whole programs first come first served.

A returning turn of an early program goes before the first turn of a late one, so programs
finish instead of all of them advancing a little. Source: Continuum (arXiv 2511.02230),
its ordering without retention.
"""

from __future__ import annotations

from agentrt_engine.policy.base import BasePolicy
from agentrt_engine.policy.program import Turn
from agentrt_engine.policy.protocol import Rank


class ProgramFcfs(BasePolicy):
    """Preempted turns first, then by the arrival of the program."""

    name = "program-fcfs"
    order_only = True

    def rank(self, now: float, turn: Turn) -> Rank:
        return (not turn.preempted, turn.program.seniority)
