"""Which waiting turns start now."""

from __future__ import annotations

from agentrt_engine.outcome import Activity
from agentrt_engine.policy.program import Phase
from agentrt_engine.policy.protocol import Gate
from agentrt_engine.simulated.clock import ticks
from agentrt_engine.simulated.events import Event
from agentrt_engine.simulated.eviction import Eviction
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.memory import Hits
from agentrt_engine.simulated.state import State


class Admission:
    """Goes through the queue in the policy's order."""

    def __init__(self, state: State, eviction: Eviction) -> None:
        self._state = state
        self._eviction = eviction
        self._recheck_at: int | None = None

    def rechecked(self) -> None:
        """The time to look at the queue again has come."""
        self._recheck_at = None
        self._state.queue_changed = True

    def round(self) -> None:
        """Start what may start."""
        state, policy, queue = self._state, self._state.policy, self._state.queue
        state.queue_changed = False
        state.ledger.tell_policy(state.now_s)
        state.sample()
        if not queue:
            return
        policy.open_gate(state.now_s, state)
        queue.rank_again(state.now_s)
        blocked = at = 0
        while at < len(queue) and len(state.in_batch) < state.settings.max_running:
            job = queue[at]
            gate = policy.admit(state.now_s, job.queued, state)
            if gate is Gate.CLOSED:
                break
            if gate is Gate.LATER:
                at += 1
            elif self._start(job, backfill=blocked > 0):
                del queue[at]
            elif blocked == policy.backfill:
                break
            else:
                blocked += 1
                at += 1
        if queue and policy.recheck_s is not None and self._recheck_at is None:
            self._recheck_at = state.now + ticks(policy.recheck_s)
            state.events.add(self._recheck_at, Event.RECHECK)

    def _start(self, job: Job, *, backfill: bool) -> bool:
        """Give a waiting turn its memory and put it into the batch, if there is enough."""
        state, memory, turn = self._state, self._state.memory, job.queued
        now_s = state.now_s
        state.ledger.let_go(job, memory.discard_useless(job.holding, job.path), now_s)
        last = (job.prompt - 1) // state.page * state.page
        usable = min(job.reusable // state.page * state.page, last)
        hits = memory.hits(job.holding, job.path, usable)
        if hits.end > last:
            hits = Hits(last)
        need = memory.needed(job.holding, job.path, hits, job.prompt + 1)
        if turn.preempted:
            # Or it would be taken out again at the next page that somebody needs.
            need += state.batch.turns
        reserve = state.policy.reserve(turn, state) // state.page
        if need + reserve > memory.free and not self._eviction.make_room(
            job, need, backfill=backfill
        ):
            return False
        loaded = self._worth_loading(job, hits, usable)
        state.ledger.let_go(job, job.holding.context.tokens, now_s)
        memory.acquire(now_s, job.holding, job.path, hits, job.prompt)
        self._count(job, hits.tokens, loaded)
        job.todo = [(hits.end + loaded, job.prompt)]
        if hits.hole:
            job.todo.insert(0, (hits.hole_start, hits.hole_start + hits.hole))
        job.program.phase = Phase.RUNNING
        state.in_batch[turn] = job
        if loaded and state.host:
            job.loading = True
            state.events.add(state.host.read(state.now, loaded), Event.LOADED, job)
        else:
            state.prefilling.append(job)
        state.note(job, Activity.PREFILL)
        state.policy.turn_started(now_s, turn, cached=hits.tokens + loaded >= usable)
        return True

    def _count(self, job: Job, hits: int, loaded: int) -> None:
        outcome = job.outcome
        if not job.queued.preempted:
            # Another program may have computed more of its shared prefix than its own turns.
            job.reusable = max(job.reusable, self._state.memory.computed(job.path))
            outcome.new_tokens += job.prompt - job.reusable
        outcome.reusable_tokens += job.reusable
        outcome.hit_tokens += hits + loaded
        outcome.host_hit_tokens += loaded
        job.program.served_tokens += job.prompt - hits - loaded

    def _worth_loading(self, job: Job, hits: Hits, usable: int) -> int:
        """Tokens behind the hits that come back from host memory sooner than from prefill."""
        state = self._state
        if state.host is None or hits.hole:
            return 0
        tokens = state.memory.host_hits(job.holding, job.path, usable) - hits.end
        if tokens <= 0:
            return 0
        again = state.ticks.prefill(hits.end, hits.end + tokens)
        return tokens if state.host.duration(state.now, tokens) < again else 0
