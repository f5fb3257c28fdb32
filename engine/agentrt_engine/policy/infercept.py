"""`infercept`: preserve, swap or discard the KV of a paused program, whichever wastes least.

For a context of C tokens and a pause of length t the memory-seconds wasted are

    preserve  t·C
    discard   fwd(C)·C + fwd(C)·C_other
    swap      2·swap(C)·C_batch

fwd(C): seconds to prefill it again; C_other: tokens of the turns in the batch, which wait for
that; swap(C): seconds to move it to host memory. t is how long the pause has lasted so far, so a
context is preserved until that waste exceeds the others. Source: InferCept (ICML 2024), eq. 1–4.
The paper does not say what happens when preserved contexts leave no room for the next turn; here
those of later programs yield, the latest first, and all of them when nothing else runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from agentrt_engine.policy.base import least_recently_used, others_run, take
from agentrt_engine.policy.program import Context, Lease, Phase, Program, Turn
from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import EngineView, Victim


class InferCept(ProgramFcfs):
    """Least waste."""

    name = "infercept"
    order_only = False
    recheck_s = 0.25

    def lease(self, now: float, program: Program, engine: EngineView) -> Lease | None:
        until = now + self._break_even_s(program.context_tokens, engine)
        return Lease(until, {"break_even_s": until - now})

    def reclaim(
        self,
        now: float,
        turn: Turn,
        need: int,
        idle: Collection[Context],
        engine: EngineView,
        *,
        backfill: bool,
    ) -> list[Victim] | None:
        given_up: list[Context] = []
        preserved: list[Context] = []
        for context in least_recently_used(idle):
            keep = context.program is not None and self._preserved(now, context.program, engine)
            (preserved if keep else given_up).append(context)
        if others_run(turn, engine):
            preserved = [c for c in preserved if _seniority(c) > turn.program.seniority]
        preserved.sort(key=_seniority, reverse=True)
        return take(given_up + preserved, need)

    def _preserved(self, now: float, program: Program, engine: EngineView) -> bool:
        if program.phase is not Phase.PAUSED:
            return program.phase is Phase.WAITING
        return program.paused_for(now) <= self._break_even_s(program.context_tokens, engine)

    @staticmethod
    def _break_even_s(length: int, engine: EngineView) -> float:
        """How long a pause may last before preserving wastes most."""
        if not length:
            return 0.0
        costs = engine.costs
        others = sum(turn.prompt_tokens for turn in engine.running)
        waste = costs.prefill(0, length) * (length + others)
        if costs.host_s is not None:
            waste = min(waste, 2 * costs.host_s * length * (length + others))
        return waste / length


def _seniority(context: Context) -> float:
    return context.program.seniority if context.program else -math.inf
