"""Who is charged for what: GPU time of each step, memory held, tokens lost to others."""

from __future__ import annotations

from agentrt_engine.policy.protocol import Policy
from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.costs import TickCosts
from agentrt_engine.simulated.job import Job


class Ledger:
    """Accounts of all programs, and the means of the steps that a policy is told.

    The fixed part of a step is split evenly among the turns in it.
    """

    def __init__(self, costs: TickCosts, policy: Policy) -> None:
        self._costs = costs
        self._policy = policy
        # Of the fixed part of all steps so far, seconds per turn that was in each of them.
        self._fixed_share = 0.0
        # ∫ price dt, GPU-seconds per token, and up to when.
        self._price = 0.0
        self._priced_s = 0.0
        # Since the policy was last told: steps, time in them, Σ turns and Σ KV tokens over them.
        self._steps = 0
        self._time = 0
        self._turn_steps = 0
        self._kv_steps = 0

    def stepped(self, steps: int, duration: int, turns: int, kv_steps: int, sharers: int) -> None:
        """The engine did so many steps.

        Args:
            turns: in the batch, prefilling ones included.
            kv_steps: Σ over the steps of the KV tokens that decode.
            sharers: turns that the fixed part of each step is split among; 0 where none decodes.
        """
        self._steps += steps
        self._time += duration
        self._turn_steps += steps * turns
        self._kv_steps += kv_steps
        if sharers:
            self._fixed_share += steps * seconds(self._costs.fixed) / sharers

    def tell_policy(self, now: float) -> None:
        """Report the steps since the last time."""
        steps = self._steps
        if steps:
            self._policy.stepped(
                now,
                seconds(self._time),
                self._turn_steps / steps,
                self._kv_steps / steps,
                steps * self._costs.fixed / self._time,
            )
            self._steps = self._time = self._turn_steps = self._kv_steps = 0
        self._price += self._policy.price(now) * (now - self._priced_s)
        self._priced_s = now

    def prefilled(self, job: Job, first: int, end: int, sharers: int) -> int:
        """Charge the positions `first` to `end` of a prompt; returns their virtual time.

        Args:
            sharers: turns that the fixed part of the step is split among; 0 if this turn has paid
                its part of it.
        """
        split = max(first, min(end, job.reusable))
        again, new = self._costs.prefill(first, split), self._costs.prefill(split, end)
        account = job.outcome.account
        account.recompute_s += seconds(again)
        account.prefill_s += seconds(new)
        if sharers:
            account.prefill_s += seconds(self._costs.fixed) / sharers
        return again + new

    def decodes(self, job: Job) -> None:
        """The turn begins to decode."""
        job.fixed_share = self._fixed_share

    def decoded(self, job: Job, steps: int) -> None:
        """The turn has decoded so many steps since `decodes`."""
        kv_steps = steps * job.prompt + steps * (steps - 1) // 2
        job.outcome.account.decode_s += self._fixed_share - job.fixed_share
        own = self._costs.decode * kv_steps + self._costs.sequence * steps
        job.outcome.account.decode_s += seconds(own)

    def holds(self, job: Job, now: float) -> None:
        """From now on the program's KV is idle."""
        job.held_from_s, job.held_from_price = now, self._price

    def let_go(self, job: Job, tokens: int, now: float) -> None:
        """Idle tokens of a program are used again or evicted."""
        account = job.outcome.account
        account.held_token_s += tokens * (now - job.held_from_s)
        account.held_price_s += tokens * (self._price - job.held_from_price)

    def lost(self, job: Job, tokens: int, cause: Job, now: float) -> None:
        """Idle tokens of a program were evicted for the turn of another."""
        self.let_go(job, tokens, now)
        job.outcome.lost_tokens += tokens
        lost_to = job.outcome.account.lost_to
        lost_to[cause.program.program_id] = lost_to.get(cause.program.program_id, 0) + tokens
