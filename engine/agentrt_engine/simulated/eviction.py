"""Making room: for a turn that is to start, and for the next tokens of the batch."""

from __future__ import annotations

from collections.abc import Sequence

from agentrt_engine.errors import PolicyStuck
from agentrt_engine.policy.program import Phase
from agentrt_engine.policy.protocol import Victim
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.state import State


class Eviction:
    """Asks the policy who yields, and takes it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def make_room(self, job: Job, need: int, *, backfill: bool) -> bool:
        """Evict what the policy gives so that a waiting turn has `need` pages; whether it has."""
        state, memory = self._state, self._state.memory
        own = {shared.context for shared in job.path}
        own.add(job.holding.context)
        idle = [context for context in memory.idle if context not in own]
        missing = (need - memory.free) * state.page
        # What several programs share can go only after what lies behind it, in another round.
        there = sum(context.tokens for context in idle)
        ask = there if 0 < there < missing and not state.in_batch else missing
        yielded = state.policy.reclaim(state.now_s, job.queued, ask, idle, state, backfill=backfill)
        if yielded is None or sum(victim.tokens for victim in yielded) < ask:
            return False
        self._take(yielded, ask, job)
        return ask == missing or self.make_room(job, need, backfill=backfill)

    def let_batch_grow(self, steps: int) -> None:
        """Make room for the next decode step, and if it is easy for `steps` of them."""
        state, batch, memory = self._state, self._state.batch, self._state.memory
        while batch.turns and memory.free < batch.pages_for(1):
            turn = min(state.in_batch, key=lambda turn: state.policy.rank(state.now_s, turn))
            missing = (batch.pages_for(steps) - memory.free) * state.page
            yielded = state.policy.reclaim(
                state.now_s, turn, missing, list(memory.idle), state, backfill=False
            )
            self._take(yielded or [], missing, state.in_batch[turn])
            if memory.free < batch.pages_for(1):
                there = [turn for turn, job in state.in_batch.items() if not job.loading]
                self._preempt(state.in_batch[state.policy.preempt(state.now_s, there)])

    def leave_batch(self, job: Job) -> int:
        """A decoding turn leaves the batch with its KV; returns how many steps it was in it."""
        state = self._state
        length = state.batch.leave(job.ticket)
        job.ticket = 0
        steps = length - job.prompt
        state.ledger.decoded(job, steps)
        job.program.served_tokens += steps
        del state.in_batch[job.queued]
        state.release(job, length)
        return steps

    def _take(self, yielded: Sequence[Victim], most: int, cause: Job) -> None:
        """Evict in the policy's order, `most` tokens in all, for the turn of `cause`."""
        state = self._state
        for victim in yielded:
            context = victim.context
            pages = -(-victim.tokens // state.page)
            tokens = min(pages * state.page, context.tokens, most)
            if tokens <= 0:
                break
            most -= tokens
            victim = Victim(context, tokens, victim.front)
            program = context.program
            if program is None:
                state.memory.evict(None, victim)
                continue
            job = state.jobs[program.program_id]
            state.memory.evict(job.holding, victim)
            if program.phase is not Phase.ENDED:
                self._lost(job, tokens, cause)
            elif not context.tokens:
                del state.jobs[program.program_id]

    def _lost(self, job: Job, tokens: int, cause: Job) -> None:
        state = self._state
        job.lost = True
        if job.turn is not None:
            job.turn.evicted = True
        if state.recorder:
            state.recorder.evicted(job.program.arrival, state.now_s)
        state.ledger.lost(job, tokens, cause, state.now_s)

    def _preempt(self, job: Job) -> None:
        """Take a turn out of the batch and let it wait with what it has generated."""
        state = self._state
        if len(state.in_batch) == 1:
            raise PolicyStuck(
                f"program {job.program.program_id}: a turn of {job.prompt} tokens and its output "
                f"do not fit a KV memory of {state.capacity_tokens} tokens",
                hint="give the engine more KV memory or leave the program out",
            )
        if job.ticket:
            steps = self.leave_batch(job)
            job.left -= steps
            job.reusable = job.prompt + steps
            job.prompt += steps + 1
        else:
            state.prefilling.remove(job)
            del state.in_batch[job.queued]
            done = job.todo[0][0]
            state.release(job, state.memory.shrink(job.holding, done))
            job.reusable = max(job.reusable, done)
        job.outcome.preemptions += 1
        job.queued.preempted = True
        job.queued.prompt_tokens = job.prompt
        job.program.phase = Phase.PREEMPTED
        state.wait(job)
