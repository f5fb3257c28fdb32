"""What the scheduler's half says of itself."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice

from agentrt_engine.policy import Phase
from agentrt_engine.sglang.scheduler.programs import Live
from agentrt_engine.sglang.scheduler.state import State
from agentrt_engine.wire.control import SnapshotRequest
from agentrt_engine.wire.programs import EngineSnapshot, ProgramRow

_ORDER = {Phase.RUNNING: 0, Phase.PREEMPTED: 1, Phase.WAITING: 2, Phase.PAUSED: 3}


def snapshot(state: State, asked: SnapshotRequest, max_running: int) -> EngineSnapshot:
    """The engine now; figures over all programs, rows of those asked for."""
    mine: list[Live] = []
    if asked.limit:  # a scrape of metrics wants no rows, and there may be 65,536
        mine = [live for live in state.table if asked.owner in (None, live.owner)]
        mine.sort(key=lambda live: (_ORDER[live.program.phase], live.program.arrival))
    return EngineSnapshot(
        policy=state.policy.name,
        uptime_s=state.now - state.started_s,
        kv_tokens=state.capacity_tokens,
        free_tokens=state.free_tokens,
        leased_tokens=state.idle.tokens,
        running=len(state.in_batch),
        waiting=len(state.queued),
        max_running=max_running,
        price=state.policy.price(state.now),
        states=dict(Counter(live.program.phase.value for live in state.table)),
        keys=state.idle.by_owner(),
        totals=state.totals,
        programs=[_row(state, live) for live in islice(mine, asked.limit)],
    )


def _row(state: State, live: Live) -> ProgramRow:
    program = live.program
    held = state.idle.get(program)
    lease = None if held is None else held.context.lease
    left_s = None if lease is None else lease.until_s - state.now
    parent = program.parent
    return ProgramRow(
        program_id=live.program_id,
        key=live.owner,
        state=program.phase.value,
        arrival=program.arrival,
        age_s=state.now - program.arrival_s,
        turns=program.turns,
        state_s=state.now - live.state_since_s,
        context_tokens=program.context_tokens,
        held_tokens=0 if held is None else held.context.tokens,
        parent_id=None if parent is None or parent.phase is Phase.ENDED else parent.program_id,
        tool=program.tool or None,
        predicted_s=live.predicted_s,
        lease_s=left_s if left_s is not None and math.isfinite(left_s) else None,
        priority=program.priority,
        account=live.account,
    )
