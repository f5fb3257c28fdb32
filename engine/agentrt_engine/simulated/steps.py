"""Steps of the model: one with prefill in it, or all decode steps up to the next event."""

from __future__ import annotations

from agentrt_engine.outcome import Activity
from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.eviction import Eviction
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.state import State


class Steps:
    """Advances the batch.

    Args:
        stepwise: do every decode step by itself instead of jumping; for tests.
    """

    def __init__(self, state: State, eviction: Eviction, *, stepwise: bool) -> None:
        self._state = state
        self._eviction = eviction
        self._stepwise = stepwise

    def prefill(self) -> None:
        """One step that prefills up to a chunk, beside the decoding turns or while they wait."""
        state, batch, ledger = self._state, self._state.batch, self._state.ledger
        mixed = state.settings.mixed_steps
        if mixed:
            self._eviction.let_batch_grow(1)
            if not state.prefilling:
                return
        budget = state.settings.chunk_tokens
        duration = batch.duration(1) if mixed else state.ticks.fixed
        served = self._served(budget)
        sharers = len(served) + (batch.turns if mixed else 0)
        finished = 0
        for job in served:
            pays = sharers
            while job.todo and budget:
                first, last = job.todo.pop(0)
                end = min(last, first + budget)
                duration += ledger.prefilled(job, first, end, pays)
                budget -= end - first
                pays = 0
                if end < last:
                    job.todo.insert(0, (end, last))
            finished += not job.todo
        if mixed:
            self._advance(1, duration, sharers)
        else:
            ledger.stepped(1, duration, len(state.in_batch), 0, 0)
            state.now += duration
        for _ in range(finished):
            self._prefilled(state.prefilling.popleft())

    def decode(self) -> None:
        """All decode steps up to the next event at once."""
        state, batch = self._state, self._state.batch
        limit = batch.steps_to_end()
        if state.events:
            limit = batch.steps_until(state.events.next_at - state.now, limit)
        room = batch.steps_within(state.memory.free, limit)
        if not room:
            self._eviction.let_batch_grow(min(limit, state.page))
            return
        if self._stepwise:
            room = 1
        self._advance(room, batch.duration(room), batch.turns)

    def _served(self, budget: int) -> list[Job]:
        """The turns that a step prefills, the earliest admitted first."""
        served = []
        for job in self._state.prefilling:
            if budget <= 0:
                break
            served.append(job)
            budget -= sum(last - first for first, last in job.todo)
        return served

    def _prefilled(self, job: Job) -> None:
        """A prompt is computed and the first token generated."""
        state = self._state
        state.memory.share(job.holding, job.prompt)
        if state.host:
            for shared in job.path:
                if shared.context.host_tokens < shared.context.tokens:
                    state.host.write(shared.context, state.drop_host)
        if len(job.outcome.ttft_s) == job.turn_index:
            job.outcome.ttft_s.append(seconds(state.now) - job.queued.queued_s)
        job.left -= 1
        job.ticket = state.batch.join(job, job.prompt, job.left)
        state.ledger.decodes(job)
        state.note(job, Activity.DECODE)

    def _advance(self, steps: int, duration: int, sharers: int) -> None:
        state, batch = self._state, self._state.batch
        state.memory.used += batch.pages_for(steps)
        kv_steps = steps * batch.kv_tokens + batch.turns * (steps * (steps - 1) // 2)
        state.ledger.stepped(steps, duration, len(state.in_batch), kv_steps, sharers)
        batch.advance(steps)
        state.now += duration
