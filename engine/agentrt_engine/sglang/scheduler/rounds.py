"""When the queue is looked at, and which of its turns may start."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable
from typing import TypeVar

from agentrt_engine.policy import Gate
from agentrt_engine.sglang.scheduler.meter import Meter
from agentrt_engine.sglang.scheduler.programs import LiveTurn
from agentrt_engine.sglang.scheduler.room import Room
from agentrt_engine.sglang.scheduler.state import State

#: A queue that nothing happened to is looked at again after this long, seconds; less if idle.
RECHECK_S = 0.25
IDLE_RECHECK_S = 0.02

#: If nothing has run for this long the first turn starts whatever the policy says. No lease and no
#: gate can then stop an engine for good, nor a mistake in the books about what runs.
PATIENCE_S = 5.0

#: The rank of a request that belongs to no program: a health check.
_FIRST = (-1.0,)

Request = TypeVar("Request")


class Rounds:
    """Rounds of admissions. Between them nothing could have changed their result."""

    def __init__(self, state: State, room: Room, meter: Meter) -> None:
        self._state = state
        self._room = room
        self._meter = meter
        self._next_s = 0.0
        self._blocked = 0
        self._started = False
        self._refused = math.inf
        self._ranks_version = 0
        # When turns began to wait although nothing runs.
        self._idle_since_s = math.inf

    def due(self) -> bool:
        """Whether it is time to look at the queue."""
        state = self._state
        return state.policy.order_only or state.changed or state.now >= self._next_s

    def sort(self, queue: list[Request], turn_of: Callable[[Request], LiveTurn | None]) -> None:
        """Put a queue of requests into the policy's order; those without a turn come first.

        Where ranks stay the same only what was added at the end since the last time moves.
        """
        state = self._state

        def rank(request: Request) -> tuple[float, ...]:
            turn = turn_of(request)
            if turn is None:
                return _FIRST
            if turn.rank is None:
                turn.rank = (0.0, *state.policy.rank(state.now, turn.turn))
            return turn.rank

        if not state.policy.ranks_are_fixed or self._ranks_version != state.ranks_version:
            self._ranks_version = state.ranks_version
            for each in filter(None, map(turn_of, queue)):
                each.rank = None
            queue.sort(key=rank)
            return
        added: list[Request] = []
        while queue and ((turn := turn_of(queue[-1])) is None or turn.rank is None):
            added.append(queue.pop())
        for request in reversed(added):
            if queue and rank(request) < rank(queue[-1]):
                insort(queue, request, key=rank)
            else:
                queue.append(request)

    def open(self, order: Callable[[], Iterable[LiveTurn]], *, nothing_runs: bool) -> None:
        """A round begins with the queue in this order.

        Args:
            nothing_runs: as the engine itself sees it, not as it was told here.
        """
        state = self._state
        if not nothing_runs:
            self._idle_since_s = math.inf
        elif self._idle_since_s > state.now:
            self._idle_since_s = state.now
        state.changed = self._started = False
        pause = RECHECK_S if state.in_batch else IDLE_RECHECK_S
        self._next_s = state.now + min(pause, state.policy.recheck_s or pause)
        self._blocked = 0
        self._refused = math.inf
        state.ordered(order)
        if not state.in_batch:  # the price is another one since the batch ended
            self._meter.tell()
        state.policy.open_gate(state.now, state)

    @property
    def forced(self) -> bool:
        """Whether a turn must start because nothing has run for too long."""
        return not self._started and self._state.now - self._idle_since_s > PATIENCE_S

    def gate(self, live_turn: LiveTurn) -> Gate:
        """Whether a waiting turn may start, memory permitting."""
        if self.forced:
            return Gate.OPEN
        return self._state.policy.admit(self._state.now, live_turn.turn, self._state)

    def make_room(self, live_turn: LiveTurn, need: int) -> bool:
        """Free `need` tokens for a waiting turn, and what must stay free then; whether they are.

        What a turn was refused in this round, one behind it need not ask for.

        Args:
            need: negative if so many more than it needs are free.
        """
        short = need + self._state.policy.reserve(live_turn.turn, self._state)
        self._room.short_of(short)
        if short <= 0:
            return True
        if need >= self._refused:
            return False
        if self._room.for_turn(live_turn.turn, need, backfill=self._blocked > 0):
            return True
        if not self.forced:
            self._refused = need
            return False
        self._room.by_force(need)
        return True

    def started(self, live_turn: LiveTurn) -> None:
        """A turn of this round started."""
        self._started = True
        self._room.started(live_turn.prefilled)
        self._idle_since_s = math.inf

    def blocked(self) -> bool:
        """A turn did not fit; whether another one may be tried instead."""
        self._blocked += 1
        return self._blocked <= self._state.policy.backfill
