"""What steps cost, and which program is charged for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from agentrt_engine.policy import Costs
from agentrt_engine.sglang.scheduler.idle_kv import Held
from agentrt_engine.sglang.scheduler.programs import Live, LiveTurn
from agentrt_engine.sglang.scheduler.state import State
from agentrt_engine.step_costs import StepCosts
from agentrt_engine.wire.programs import ProgramAccount

#: The policy is told of a new cost model when a coefficient moved by this share.
NOTICEABLE = 0.1

#: Steps between two looks at the cost model.
LOOK_EVERY = 64


class Step(NamedTuple):
    """One batch that the engine ran.

    Attributes:
        decoding: turns that decoded, kv_tokens: of theirs.
        prefilled: turns with prompt tokens in the batch, and how many each.
        prefill_tokens: of all, prefill_positions: sum of their positions.
    """

    decoding: int
    kv_tokens: int
    prefilled: Sequence[tuple[LiveTurn | None, int]] = ()
    prefill_tokens: int = 0
    prefill_positions: float = 0.0


class Meter:
    """Measures steps from tick to tick and keeps the accounts.

    A step belongs to the turns in it: a decode step to all alike, a prefill by prompt tokens.

    Args:
        costs: estimate of what steps cost, learned as they run.
    """

    def __init__(self, state: State, costs: StepCosts) -> None:
        self._state = state
        self.costs = costs
        self._step: Step | None = None
        self._step_s = 0.0
        self._looked = 0
        # Since policy and cost model were last told: steps, how long each took, and the turns that
        # were in the batch behind it.
        self._untold: list[tuple[Step, float, int]] = []
        self._untold_s = 0.0
        # Seconds charged to a turn that was in every decode batch so far.
        self._share = 0.0
        # ∫ price dt, seconds per token, and up to when.
        self._price = 0.0
        self._priced_s = 0.0

    def restore(self, costs: Mapping[str, Any]) -> None:
        """Go on from a cost model learned before.

        Raises:
            SettingError: it is damaged.
        """
        self.costs = StepCosts.restore(costs)
        self._state.measured(self.costs.costs())

    def ran(self, step: Step) -> None:
        """The engine ran a batch; how long it took shows at the next tick."""
        self._step = step
        self._step_s = self._state.now

    def ticked(self, now: float) -> bool:
        """Time of rank 0 before anything else in a scheduler step; whether a prefill ran last."""
        step, self._step = self._step, None
        if step is None:
            return False
        if now > self._step_s:
            self._measured(step, now - self._step_s)
        return step.prefill_tokens > 0

    def _measured(self, step: Step, seconds: float) -> None:
        self._untold.append((step, seconds, len(self._state.in_batch)))
        self._untold_s += seconds
        if step.prefill_tokens:
            for turn, tokens in step.prefilled:
                if turn is not None:
                    self._charge_prefill(turn, seconds * tokens / step.prefill_tokens)
        elif step.decoding:
            self._share += seconds / step.decoding

    def _observe(self, steps: Iterable[tuple[Step, float, int]]) -> None:
        for step, seconds, _turns in steps:
            self.costs.observe(
                seconds, step.kv_tokens, step.prefill_tokens, step.prefill_positions, step.decoding
            )
            self._looked += 1
        if self._looked >= LOOK_EVERY:
            self._looked = 0
            self._look()

    def _look(self) -> None:
        """Tell the state of a new cost model if it is noticeably different."""
        costs, known = self.costs.costs(), self._state.costs
        if any(_differs(new, old) for new, old in zip(_values(costs), _values(known), strict=True)):
            self._state.measured(costs)

    @property
    def untold_s(self) -> float:
        """Seconds of work that policy and cost model were not told of."""
        return self._untold_s

    def tell(self) -> None:
        """Report the steps since the last time, to the policy and to the cost model."""
        state, untold, total_s = self._state, self._untold, self._untold_s
        if untold:
            self._untold, self._untold_s = [], 0.0
            self._observe(untold)
            fixed_s = state.costs.fixed_s
            state.policy.stepped(
                state.now,
                total_s,
                sum(turns for _step, _seconds, turns in untold) / len(untold),
                sum(step.kv_tokens for step, _seconds, _turns in untold) / len(untold),
                sum(min(seconds, fixed_s) for _step, seconds, _turns in untold) / total_s,
            )
        self._price += state.policy.price(state.now) * (state.now - self._priced_s)
        self._priced_s = state.now

    # Accounts.

    def admitted(self, turn: LiveTurn) -> None:
        """A turn entered the batch with what it found in the cache."""
        state, prompt, hit = self._state, turn.turn.prompt_tokens, turn.turn.hit_tokens
        program = turn.live.program
        turn.share_mark = self._share
        turn.prefilled = prompt - hit
        was_there = min(program.context_tokens - program.output_tokens, prompt - 1)
        turn.again = max(0, was_there - hit) if turn.turn.evicted or not state.policy.retains else 0
        if not turn.turn.preempted:
            state.totals.prompt_tokens += prompt
            state.totals.hit_tokens += hit
            state.totals.lost_tokens += turn.again

    def left(self, turn: LiveTurn) -> None:
        """A turn left the batch."""
        seconds = self._share - turn.share_mark
        for account in self._accounts(turn.live):
            account.decode_s += seconds

    def holds(self, held: Held) -> None:
        """From now on the context is idle."""
        held.since_s, held.since_price = self._state.now, self._price

    def let_go(self, held: Held, tokens: int) -> None:
        """Idle tokens are used again, given back or reclaimed."""
        seconds = tokens * (self._state.now - held.since_s)
        price_s = tokens * (self._price - held.since_price)
        for account in self._accounts(self._state.live(held.program)):
            account.held_token_s += seconds
            account.held_price_s += price_s

    def _charge_prefill(self, turn: LiveTurn, seconds: float) -> None:
        again = seconds * turn.again / turn.prefilled if turn.prefilled else 0.0
        for account in self._accounts(turn.live):
            account.recompute_s += again
            account.prefill_s += seconds - again

    def _accounts(self, live: Live) -> tuple[ProgramAccount, ProgramAccount]:
        return live.account, self._state.totals.account


def _values(costs: Costs) -> tuple[float, ...]:
    return costs.fixed_s, costs.decode_s, costs.sequence_s, costs.prefill_s, costs.position_s


def _differs(new: float, old: float) -> bool:
    return abs(new - old) > NOTICEABLE * max(new, old)
