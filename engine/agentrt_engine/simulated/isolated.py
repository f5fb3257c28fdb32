"""What programs would take alone on an engine that loses nothing: the bound for slowdowns."""

from __future__ import annotations

from agentrt_engine.simulated.costs import TickCosts
from agentrt_engine.simulated.workload import ProgramPlan, TurnPlan


class Isolated:
    """Times of programs alone; remembered, because a plan is run many times.

    Args:
        page: tokens of a page: a hit is whole pages, even here.
    """

    def __init__(self, costs: TickCosts, *, chunk_tokens: int, page: int) -> None:
        self._costs = costs
        self._chunk = chunk_tokens
        self._page = page
        self._service: dict[ProgramPlan, list[int]] = {}

    def service_left(self, plan: ProgramPlan, turn: int) -> int:
        """Engine time of the turns from `turn` on, virtual time."""
        left = self._service.get(plan)
        if left is None:
            kept = 0
            services = []
            for planned in plan.turns:
                services.append(self._service_of(planned, kept))
                # The last token is generated but never computed.
                length = planned.input_tokens + planned.output_tokens - 1
                kept = -(-length // self._page) * self._page
            left = [0]
            for service in reversed(services):
                left.append(left[-1] + service)
            left.reverse()
            self._service[plan] = left
        return left[turn]

    def job_time(self, plan: ProgramPlan) -> int:
        """From arrival to the end of the last turn, virtual time."""
        return self.service_left(plan, 0) + sum(
            max([turn.pause, *(self.job_time(child) for child in turn.waits_for)])
            for turn in plan.turns[:-1]
        )

    def _service_of(self, turn: TurnPlan, kept: int) -> int:
        """Of a turn, `kept` tokens of the one before being in memory."""
        costs, prompt = self._costs, turn.input_tokens
        hits = min(turn.reusable_tokens, prompt - 1, kept) // self._page * self._page
        decodes = turn.output_tokens - 1
        return (
            -(-(prompt - hits) // self._chunk) * costs.fixed
            + costs.prefill(hits, prompt)
            + decodes * (costs.fixed + costs.sequence)
            + costs.decode * (decodes * prompt + decodes * (decodes - 1) // 2)
        )
