"""How much of a prompt was computed before, in this run."""

from __future__ import annotations

from collections.abc import Set

from agentrt_engine.simulated.shared_prefixes import Segment
from agentrt_engine.simulated.workload import TurnPlan


class Reuse:
    """Follows which shared segments are in requests that were sent, and that were prefilled."""

    def __init__(self) -> None:
        self._sent: set[Segment] = set()
        self._prefilled: set[Segment] = set()

    def sends(self, turn: TurnPlan) -> int:
        """A turn is sent; returns the tokens of its prompt that some request had before it."""
        tokens = _known(turn, self._sent)
        self._sent.update(turn.segments)
        return tokens

    def prefilled(self, turn: TurnPlan) -> int:
        """Its prompt is computed; returns the tokens that surely were computed before."""
        tokens = _known(turn, self._prefilled)
        self._prefilled.update(turn.segments)
        return tokens


def _known(turn: TurnPlan, segments: Set[Segment]) -> int:
    """What its own turn before left, or another program's in these segments."""
    tokens = turn.reusable_tokens
    for segment in turn.segments:
        if segment not in segments:
            break
        tokens = max(tokens, segment.end)
    return min(tokens, turn.input_tokens)
