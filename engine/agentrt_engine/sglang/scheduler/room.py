"""Making room: who of the idle yields, decided by the policy, carried out on the tree."""

from __future__ import annotations

from enum import StrEnum

from agentrt_engine.policy import Context, Program, Turn
from agentrt_engine.sglang.scheduler.idle_kv import Held
from agentrt_engine.sglang.scheduler.meter import Meter
from agentrt_engine.sglang.scheduler.programs import Live
from agentrt_engine.sglang.scheduler.state import State

#: How often the policy is asked again because less came free than it thought.
ATTEMPTS = 4

#: While something runs all contexts are measured anew at most that often, seconds.
MEASURE_S = 1.0

#: Decode steps that room is made for at once.
GROWTH_STEPS = 16


class Cause(StrEnum):
    """Why idle KV yielded."""

    ADMISSION = "admission"
    DECODE = "decode"
    BUDGET = "budget"
    #: The policy gave nothing although nothing ran.
    FORCED = "forced"
    DEMOTED = "demoted"


class Room:
    """Takes memory from idle programs."""

    def __init__(self, state: State, meter: Meter) -> None:
        self._state = state
        self._meter = meter
        self._measured_s = 0.0

    def for_turn(self, turn: Turn, need: int, *, backfill: bool) -> bool:
        """Free `need` tokens so that a waiting turn can start; whether they are free."""
        return self._ask(turn, need, Cause.ADMISSION, backfill=backfill)

    def for_batch(self, missing: int) -> None:
        """Free what the next decode steps need, as far as the policy gives it.

        A batch of one turn gets everything, since nothing else could ever free it.
        """
        state = self._state
        if not state.in_batch:
            self.by_force(missing)
            return
        first = min(state.in_batch, key=lambda turn: state.policy.rank(state.now, turn))
        need = missing + (GROWTH_STEPS - 1) * len(state.in_batch) * state.tree.page_size
        self._ask(first, need, Cause.DECODE, backfill=False)
        if len(state.in_batch) == 1:
            self.by_force(missing)

    def by_force(self, need: int) -> None:
        """Free `need` tokens whatever the policy says, the context idle for longest first."""
        state = self._state
        for held in sorted(state.idle, key=lambda held: held.context.used_s):
            if need <= 0:
                return
            need -= self._take(held, need, Cause.FORCED)

    def release(self, live: Live, cause: Cause) -> int:
        """Free all that is held for a program."""
        held = self._state.idle.get(live.program)
        return 0 if held is None else self._take(held, held.length, cause)

    def over_budget(self, owner: str, newest: Program) -> None:
        """Leases of one key may hold its share: what is beyond it goes, the latest arrival first.

        A program never pushes out one that arrived before it.
        """
        state = self._state
        mine = [held for held in state.idle if held.owner == owner]
        excess = sum(held.context.tokens for held in mine) - int(state.lease_tokens)
        if excess <= 0:
            return
        for held in sorted(mine, key=lambda held: -held.program.arrival):
            if excess <= 0 or held.program.arrival < newest.arrival:
                return
            excess -= self._take(held, excess, Cause.BUDGET)

    def _ask(self, turn: Turn, need: int, cause: Cause, *, backfill: bool) -> bool:
        state = self._state
        pinned_too = not state.in_batch
        for attempt in range(ATTEMPTS):
            idle = self._evictable(turn, pinned_too=pinned_too)
            yielded = state.policy.reclaim(
                state.now, turn, _whole(need, state.tree.page_size), idle, state, backfill=backfill
            )
            enough = yielded is not None and sum(victim.tokens for victim in yielded) >= need
            if not enough and attempt == 0 and self._measured_anew():
                continue  # it saw too little or too much
            if yielded is None:
                return False
            if not enough and cause is Cause.ADMISSION:
                return False
            for victim in yielded:
                program = victim.context.program
                held = None if program is None else state.idle.get(program)
                if held is not None and need > 0:
                    need -= self._take(held, min(victim.tokens, need), cause)
            if need <= 0:
                return True
            if not yielded:
                return False
        return False

    def _measured_anew(self) -> bool:
        """Count all contexts anew, not too often while something runs; whether any differed."""
        state = self._state
        if state.in_batch and state.now - self._measured_s < MEASURE_S:
            return False
        self._measured_s = state.now
        return state.idle.measure_all()

    def _evictable(self, turn: Turn, *, pinned_too: bool) -> list[Context]:
        now, own = self._state.now, turn.program
        return [
            held.context
            for held in self._state.idle
            if held.program is not own
            and held.context.tokens
            and (pinned_too or held.pinned_until_s <= now)
        ]

    def _take(self, held: Held, tokens: int, cause: Cause) -> int:
        state = self._state
        live = state.live(held.program)
        freed = state.idle.trim(held, tokens)
        if freed:
            self._meter.let_go(held, freed)
            live.lost = True
            live.account.lost_tokens += freed
            state.totals.account.lost_tokens += freed
            state.count(state.totals.reclaims, cause)
            state.count(state.totals.reclaimed_tokens, cause, freed)
        return freed


def _whole(tokens: int, page: int) -> int:
    return -(-tokens // page) * page
