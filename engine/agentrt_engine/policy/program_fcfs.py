"""`program-fcfs`: whole programs first come first served.

A returning turn of an early program goes before the first turn of a late one, so programs
finish instead of all of them advancing a little. Source: Continuum (arXiv 2511.02230),
its ordering without retention.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentrt_engine.policy.protocol import WaitingTurn


class ProgramFcfs:
    """Preempted turns first, then by the arrival of the program, then of the turn."""

    name = "program-fcfs"

    def order(self, waiting: Sequence[WaitingTurn]) -> list[WaitingTurn]:
        return sorted(
            waiting, key=lambda turn: (not turn.preempted, turn.program_arrival, turn.queued_s)
        )
