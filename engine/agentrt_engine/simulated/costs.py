"""The cost model in virtual time: whole ticks, so that sums are exact."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt_engine.policy.protocol import Costs
from agentrt_engine.simulated.clock import ticks


@dataclass(frozen=True, slots=True)
class TickCosts:
    """`Costs` in ticks of the virtual clock.

    Attributes:
        fixed: of a step.
        decode: per KV token of the decoding batch and step.
        token, position: per prefilled token, and per token and token before it.
        sequence: per decoding turn and step.
    """

    fixed: int
    decode: int
    token: int
    position: int
    sequence: int = 0

    @classmethod
    def of(cls, costs: Costs) -> TickCosts:
        return cls(
            ticks(costs.fixed_s),
            ticks(costs.decode_s),
            ticks(costs.prefill_s),
            ticks(costs.position_s),
            ticks(costs.sequence_s),
        )

    def prefill(self, first: int, end: int) -> int:
        """Of prefilling the positions from `first` up to `end`."""
        count = end - first
        return self.token * count + self.position * (count * (first + end - 1) // 2)
