"""`asym`: Continuum's pins, with the blocks that are cheap to compute again evicted first.

The victim is the block with the smallest f(t)·ΔT. ΔT, the time to compute it again, grows with its
position, so it is a block at the front of a context, and eviction leaves a hole there that is
computed again exactly. f says how likely a block is to be used again
after t seconds without use:

    f(τ) = min(e^(−τ/α), e^(−(τ − τ0)/β)),  α = −L/ln p,  β = α/r,  τ0 = L(1 − 1/r)

L: 99th percentile of the pauses. Source: AsymCache.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection

from agentrt_engine.policy.continuum import Continuum, Eta
from agentrt_engine.policy.pinning import Reading
from agentrt_engine.policy.program import Context
from agentrt_engine.policy.protocol import Costs, Victim

#: Taken from a context at a time before others are looked at again, tokens.
BLOCK_TOKENS = 1024

#: Pauses of this length are assumed before any was seen, seconds.
FIRST_LIFE_S = 60.0


class Asym(Continuum):
    """Position-aware eviction.

    Args:
        p: how likely a block is to be used again when it has not been for L seconds.
        r: how much faster the likelihood falls after that.
    """

    name = "asym"
    evicts_fronts = True

    def __init__(
        self,
        reading: Reading = Reading.STRICT,
        eta: Eta = Eta.FULL,
        p: float = 0.5,
        r: float = 40.0,
    ) -> None:
        super().__init__(reading, eta)
        if not 0 < p < 1:
            raise ValueError(f"p={p}: expected a share between 0 and 1")
        if r < 1:
            raise ValueError(f"r={r}: expected at least 1")
        self._p = p
        self._r = r
        self._costs: Costs | None = None

    def attach(self, costs: Costs) -> None:
        self._costs = costs

    def take(self, now: float, contexts: Collection[Context], need: int) -> list[Victim]:
        blocks = []
        for order, context in enumerate(contexts):
            likely = self._likely(now - context.used_s)
            front = context.start + context.hole
            blocks.append((likely * self._cost(front), order, likely, front, 0, context))
        heapq.heapify(blocks)
        taken: dict[Context, int] = {}
        while blocks and need > 0:
            _value, order, likely, front, gone, context = heapq.heappop(blocks)
            tokens = min(BLOCK_TOKENS, context.tokens - gone, need)
            taken[context] = taken.get(context, 0) + tokens
            need -= tokens
            gone += tokens
            if gone < context.tokens:
                value = likely * self._cost(front + gone)
                heapq.heappush(blocks, (value, order, likely, front, gone, context))
        # A segment that several programs share has no other copy of its front to go on from.
        return [
            Victim(context, tokens, front=context.program is not None)
            for context, tokens in taken.items()
        ]

    def _likely(self, idle_s: float) -> float:
        life = self._durations.quantile(None, 0.99) or FIRST_LIFE_S
        alpha = -life / math.log(self._p)
        late = life * (1 - 1 / self._r)
        return min(math.exp(-idle_s / alpha), math.exp(-(idle_s - late) * self._r / alpha))

    def _cost(self, position: int) -> float:
        assert self._costs is not None
        return self._costs.prefill_s + self._costs.position_s * position
