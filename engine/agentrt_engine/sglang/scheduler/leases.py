"""Leases of paused programs: when they are granted, used, and when they are over."""

from __future__ import annotations

import heapq
import math
from itertools import count

from agentrt_engine.policy import Context, Lease
from agentrt_engine.sglang.scheduler.meter import Meter
from agentrt_engine.sglang.scheduler.programs import Live
from agentrt_engine.sglang.scheduler.room import Room
from agentrt_engine.sglang.scheduler.side_store import Segment
from agentrt_engine.sglang.scheduler.state import State
from agentrt_engine.sglang.scheduler.tree import Place


class Leases:
    """Holds the KV of programs that pause, for policies that decide about it.

    What is held stays until the policy gives it up, lease or no lease: a lease says to the policy
    until when it is worth keeping.
    """

    def __init__(self, state: State, room: Room, meter: Meter) -> None:
        self._state = state
        self._room = room
        self._meter = meter
        self._expiries: list[tuple[float, int, Context, Lease]] = []
        self._serial = count()

    def held(self, live: Live, place: Place) -> None:
        """The KV of a turn that left the batch is idle from now on."""
        state = self._state
        if not state.policy.retains or place.length <= 0:
            return
        held = state.idle.hold(live.program, live.owner, place.prefix, place.length, place.node)
        held.context.used_s = state.now
        self._meter.holds(held)

    def granted(self, live: Live) -> None:
        """The program pauses, or more is known of its pause: ask the policy for its lease."""
        state, program = self._state, live.program
        live.predicted_s = state.policy.predict_pause(program, 0.5)
        held = state.idle.get(program)
        new = held is not None and held.context.lease is None
        if self.renewed(live) and new:
            state.count(state.totals.leases, "granted")
            self._room.over_budget(live.owner, program)

    def renewed(self, live: Live) -> bool:
        """Ask the policy again how long the lease is to be; whether there is one."""
        state = self._state
        held = state.idle.get(live.program)
        if held is None:
            return False
        lease = state.policy.lease(state.now, live.program, state)
        held.context.lease = lease
        if lease is not None and math.isfinite(lease.until_s):
            self._expires(held.context, lease)
        return lease is not None

    def consumed(self, live: Live, lend: Segment | None) -> None:
        """The program's next turn holds its KV by itself, or is lent it."""
        self._let_go(live, "consumed", lend)

    def dropped(self, live: Live) -> None:
        """The program needs its KV no more."""
        self._let_go(live, "dropped")

    def expire(self) -> None:
        """Leases whose time is over; their KV may yield more easily from now on."""
        state = self._state
        while self._expiries and self._expiries[0][0] <= state.now:
            _until, _serial, context, lease = heapq.heappop(self._expiries)
            if context.lease is lease:
                state.count(state.totals.leases, "expired")
                state.changed = True

    def _expires(self, context: Context, lease: Lease) -> None:
        if len(self._expiries) > 2 * len(self._state.idle) + 64:
            self._expiries = [entry for entry in self._expiries if entry[2].lease is entry[3]]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (lease.until_s, next(self._serial), context, lease))

    def _let_go(self, live: Live, event: str, lend: Segment | None = None) -> None:
        state = self._state
        held = state.idle.get(live.program)
        if held is None:
            return
        self._meter.let_go(held, held.context.tokens)
        held.context.lease = None
        state.idle.release(live.program, lend=lend)
        state.count(state.totals.leases, event)
        state.changed = True
