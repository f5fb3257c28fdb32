"""The event loop: turns arrive, are admitted, prefilled, decoded; programs pause and return.

Time is virtual and whole (`clock.py`). Between events nothing but decoding happens, so the
loop jumps over all steps up to the next event; the result is the same as one step at a time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence

from agentrt_engine.errors import PolicyStuck
from agentrt_engine.outcome import Activity, Occupancy, ProgramOutcome
from agentrt_engine.policy.program import Context, Phase, Program, Turn
from agentrt_engine.policy.protocol import Costs, Gate, Memory, Policy, Victim
from agentrt_engine.simulated.arrivals import Arrivals
from agentrt_engine.simulated.batch import DecodeBatch
from agentrt_engine.simulated.clock import seconds, ticks
from agentrt_engine.simulated.costs import TickCosts
from agentrt_engine.simulated.events import Event, Events
from agentrt_engine.simulated.host_tier import HostTier
from agentrt_engine.simulated.isolated import Isolated
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.ledger import Ledger
from agentrt_engine.simulated.memory import Hits, KvMemory
from agentrt_engine.simulated.recorder import Recorder
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.waiting_queue import WaitingQueue
from agentrt_engine.simulated.workload import ProgramPlan

#: Pages of an engine whose memory has no limit.
_UNLIMITED_PAGES = 2**50


#: Rechecks in a row with nothing running and nothing to come, before a policy counts as stuck.
MAX_FRUITLESS = 1000


class SimulatedEngine:
    """One engine in virtual time, for one run.

    Args:
        recorder: keeps a timeline.
        on_progress: called now and then with programs ended and programs in all.
        stepwise: do every decode step by itself instead of jumping; for tests.
    """

    def __init__(
        self,
        settings: EngineSettings,
        policy: Policy,
        *,
        stepwise: bool = False,
        recorder: Recorder | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._stepwise = stepwise
        self._recorder = recorder
        self._on_progress = on_progress
        self._ended = 0
        self._page = settings.page
        self._ticks = TickCosts.of(settings.costs)
        unlimited = policy.memory is Memory.UNLIMITED
        self._memory = KvMemory(
            _UNLIMITED_PAGES if unlimited else settings.kv_tokens // settings.page,
            settings.page,
            parks=policy.memory is Memory.FREE_RETENTION,
        )
        self._host = _host_tier(settings)
        policy.attach(settings.costs)
        self._isolated = Isolated(
            self._ticks, chunk_tokens=settings.chunk_tokens, page=settings.page
        )
        self._batch: DecodeBatch[Job] = DecodeBatch(
            settings.page, self._ticks.fixed, self._ticks.decode
        )
        self._now = 0
        self._events = Events()
        self._ledger = Ledger(self._ticks, policy)
        self._jobs: dict[str, Job] = {}
        self._programs: dict[str, Program] = {}
        self._running: dict[Turn, Job] = {}
        self._prefilling: deque[Job] = deque()
        self._queue = WaitingQueue(policy, self._memory)
        self._changed = False
        self._recheck_at: int | None = None
        self._fruitless = 0
        self._outcomes: list[ProgramOutcome] = []
        self._copies: Counter[str] = Counter()

    # What a policy may ask.

    @property
    def capacity_tokens(self) -> int:
        return self._memory.pages * self._page

    @property
    def host_tokens(self) -> int:
        return self._settings.host_tokens

    @property
    def free_tokens(self) -> int:
        return self._memory.free * self._page

    @property
    def steps(self) -> int:
        """Steps of the model so far."""
        return self._batch.steps

    @property
    def costs(self) -> Costs:
        return self._settings.costs

    @property
    def programs(self) -> Mapping[str, Program]:
        return self._programs

    @property
    def running(self) -> Collection[Turn]:
        return self._running.keys()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def position(self, program: Program) -> int:
        return self._queue.position(self._jobs[program.program_id])

    def context(self, program: Program) -> Context:
        return self._jobs[program.program_id].holding.context

    # The loop.

    def run(self, arrivals: Arrivals) -> list[ProgramOutcome]:
        """Run all programs to their end.

        Raises:
            PolicyStuck: the policy admits nothing although nothing runs.
        """
        self._arrivals = arrivals
        for plan, at in arrivals.first():
            self._arrive_at(at, plan, None)
        while True:
            self._deliver_events()
            if self._changed:
                self._changed = False
                self._admit()
            if self._prefilling:
                self._step()
            elif self._batch.turns:
                self._decode()
            elif self._events:
                self._now = self._events.next_at
            elif self._queue:
                raise self._stuck()
            else:
                return self._outcomes

    def _stuck(self) -> PolicyStuck:
        return PolicyStuck(
            f"policy {self._policy.name}: {len(self._queue)} turns wait, nothing runs and none is "
            f"admitted at {seconds(self._now):.3f} s",
            hint="a policy must admit a turn when nothing runs: see docs/policies.md",
        )

    def _deliver_events(self) -> None:
        events = self._events
        while events and events.next_at <= self._now:
            at, kind, job = events.pop()
            if kind is Event.RECHECK:
                self._recheck_at = None
                self._changed = True
                self._fruitless = 0 if self._running or events else self._fruitless + 1
                if self._fruitless > MAX_FRUITLESS:
                    raise self._stuck()
            elif job is None:
                raise AssertionError(f"an event {kind} without a program")
            elif kind is Event.ARRIVAL:
                self._started(job, at)
            elif kind is Event.RETURN:
                self._awaited(job, at)
            else:
                job.loading = False
                self._prefilling.append(job)

    # Programs.

    def _arrive_at(self, at: int, plan: ProgramPlan, parent: Job | None) -> None:
        self._copies[plan.program_id] += 1
        copy = self._copies[plan.program_id]
        program_id = plan.program_id if copy == 1 else f"{plan.program_id}~{copy}"
        job = Job.of(plan, parent, program_id)
        self._events.add(at, Event.ARRIVAL, job)

    def _started(self, job: Job, at: int) -> None:
        program = job.program
        program.arrival = len(self._outcomes)
        program.arrival_s = seconds(at)
        job.outcome.arrival_s = program.arrival_s
        job.outcome.isolated_s = seconds(self._isolated.job_time(job.plan))
        self._outcomes.append(job.outcome)
        self._jobs[program.program_id] = job
        self._programs[program.program_id] = program
        if job.parent is not None:
            job.parent.program.children += (program,)
        program.prompt_tokens = job.planned.input_tokens
        self._foretell(job)
        self._policy.program_started(seconds(at), program)
        self._enqueue(job, at)

    def _foretell(self, job: Job) -> None:
        """Tell an oracle how much work the program has left."""
        if self._policy.knows_future:
            left = self._isolated.service_left(job.plan, job.turn_index)
            job.program.remaining_s = seconds(left)

    def _enqueue(self, job: Job, at: int) -> None:
        """The program asks for its next turn."""
        plan, program = job.planned, job.program
        job.path = self._memory.path(plan.segments)
        job.prompt, job.reusable = plan.input_tokens, plan.reusable_tokens
        job.left = plan.output_tokens
        job.turn = Turn(program, seconds(at), plan.input_tokens, evicted=job.lost)
        job.lost = False
        program.phase = Phase.WAITING
        program.tool = None
        if self._recorder:
            self._recorder.returns(program.arrival, seconds(at))
        self._wait(job)

    def _wait(self, job: Job) -> None:
        self._queue.add(seconds(self._now), job)
        self._changed = True
        self._note(job, Activity.QUEUED)

    def _end_turn(self, job: Job) -> None:
        policy, program, plan = self._policy, job.program, job.planned
        self._leave_batch(job)
        job.turn = None
        now_s = seconds(self._now)
        program.turns += 1
        program.previous_tokens = program.context_tokens
        program.context_tokens = plan.input_tokens + plan.output_tokens
        program.output_tokens = plan.output_tokens
        job.outcome.turns += 1
        job.outcome.output_tokens += plan.output_tokens
        job.turn_index += 1
        self._changed = True
        if job.turn_index == len(job.plan.turns):
            self._end_program(job)
            return
        program.phase = Phase.PAUSED
        program.paused_s = now_s
        program.tool = plan.tool
        program.children = ()
        program.returns_s = None
        if policy.knows_future and not plan.waits_for:
            program.returns_s = seconds(self._now + plan.pause)
        policy.turn_ended(now_s, program)
        policy.tool_started(now_s, program, plan.tool)
        job.awaits = 1 + len(plan.waits_for)
        self._events.add(self._now + plan.pause, Event.RETURN, job)
        for child in plan.waits_for:
            self._arrive_at(self._now, child, job)
        job.holding.context.lease = policy.lease(now_s, program, self)
        if self._recorder:
            self._note(job, Activity.CHILDREN if plan.waits_for else Activity.TOOL)
            if not plan.waits_for:
                predicted = [policy.predict_pause(program, quantile) for quantile in (0.5, 0.95)]
                self._recorder.pauses(program.arrival, plan.tool, now_s, *predicted)

    def _end_program(self, job: Job) -> None:
        program = job.program
        job.outcome.end_s = seconds(self._now)
        program.phase = Phase.ENDED
        self._policy.turn_ended(seconds(self._now), program)
        self._policy.program_ended(seconds(self._now), program)
        if self._recorder:
            self._recorder.stops(program.arrival, seconds(self._now))
        self._ended += 1
        if self._on_progress and self._ended % 16 == 0:
            self._on_progress(self._ended, self._arrivals.total)
        self._memory.forget(job.holding, keep=not self._policy.knows_ends)
        if self._host and self._policy.knows_ends:
            self._host.forget(job.holding.context)
        del self._programs[program.program_id]
        if not job.holding.context.tokens:
            del self._jobs[program.program_id]
        if job.parent is not None:
            self._awaited(job.parent, self._now)
        elif (plan := self._arrivals.after_end()) is not None:
            self._arrive_at(self._now, plan, None)

    def _awaited(self, job: Job, at: int) -> None:
        """One of the things that a paused program waits for is over."""
        job.awaits -= 1
        if not job.awaits:
            job.program.prompt_tokens = job.planned.input_tokens
            self._foretell(job)
            self._policy.pause_ended(seconds(at), job.program)
            self._enqueue(job, at)

    # Admission.

    def _admit(self) -> None:
        policy, queue = self._policy, self._queue
        self._ledger.tell_policy(seconds(self._now))
        if self._recorder and self._recorder.wants_sample(seconds(self._now)):
            self._recorder.sample(self._occupancy())
        if not queue:
            return
        now_s = seconds(self._now)
        policy.open_gate(now_s, self)
        queue.rank_again(now_s)
        blocked = at = 0
        while at < len(queue) and len(self._running) < self._settings.max_running:
            job = queue[at]
            gate = policy.admit(now_s, job.queued, self)
            if gate is Gate.CLOSED:
                break
            if gate is Gate.LATER:
                at += 1
            elif self._start(now_s, job, backfill=blocked > 0):
                del queue[at]
            elif blocked == policy.backfill:
                break
            else:
                blocked += 1
                at += 1
        if queue and policy.recheck_s is not None and self._recheck_at is None:
            self._recheck_at = self._now + ticks(policy.recheck_s)
            self._events.add(self._recheck_at, Event.RECHECK)

    def _start(self, now_s: float, job: Job, *, backfill: bool) -> bool:
        """Give a waiting turn its memory and put it into the batch, if there is enough."""
        memory, turn = self._memory, job.queued
        self._ledger.let_go(job, memory.discard_useless(job.holding, job.path), now_s)
        usable = min(job.reusable, job.prompt - 1)
        hits = memory.hits(job.holding, job.path, usable)
        last = (job.prompt - 1) // self._page * self._page
        if hits.end > last:
            hits = Hits(last)
        need = memory.needed(job.holding, job.path, hits, job.prompt + 1)
        if turn.preempted:
            # Or it would be taken out again at the next page that somebody needs.
            need += self._batch.turns
        reserve = self._policy.reserve(turn, self) // self._page
        if need + reserve > memory.free and not self._make_room(now_s, job, need, backfill):
            return False
        loaded = self._worth_loading(job, hits, min(usable, last))
        self._ledger.let_go(job, job.holding.context.tokens, now_s)
        memory.acquire(now_s, job.holding, job.path, hits, job.prompt)
        outcome, program = job.outcome, job.program
        if not turn.preempted:
            # Another program may have computed more of its shared prefix than its own turns.
            job.reusable = max(job.reusable, memory.computed(job.path))
            outcome.new_tokens += job.prompt - job.reusable
        outcome.reusable_tokens += job.reusable
        outcome.hit_tokens += hits.tokens + loaded
        outcome.host_hit_tokens += loaded
        job.todo = [(hits.end + loaded, job.prompt)]
        if hits.hole:
            job.todo.insert(0, (hits.hole_start, hits.hole_start + hits.hole))
        program.phase = Phase.RUNNING
        program.served_tokens += job.prompt - hits.tokens - loaded
        self._running[turn] = job
        if loaded and self._host:
            job.loading = True
            self._events.add(self._host.read(self._now, loaded), Event.LOADED, job)
        else:
            self._prefilling.append(job)
        self._note(job, Activity.PREFILL)
        self._policy.turn_started(
            now_s, turn, cached=hits.tokens + loaded >= usable // self._page * self._page
        )
        return True

    def _worth_loading(self, job: Job, hits: Hits, usable: int) -> int:
        """Tokens behind the hits that come back from host memory sooner than from prefill."""
        if self._host is None or hits.hole:
            return 0
        tokens = self._memory.host_hits(job.holding, job.path, usable) - hits.end
        if tokens <= 0:
            return 0
        again = self._ticks.prefill(hits.end, hits.end + tokens)
        return tokens if self._host.duration(self._now, tokens) < again else 0

    def _make_room(self, now_s: float, job: Job, need: int, backfill: bool) -> bool:
        """Evict what the policy gives so that `need` pages are free."""
        memory, turn = self._memory, job.queued
        own = {shared.context for shared in job.path}
        own.add(job.holding.context)
        idle = [context for context in memory.idle if context not in own]
        missing = (need - memory.free) * self._page
        # What several programs share can go only after what lies behind it, in another round.
        there = sum(context.tokens for context in idle)
        ask = there if 0 < there < missing and not self._running else missing
        yielded = self._policy.reclaim(now_s, turn, ask, idle, self, backfill=backfill)
        if yielded is None or sum(victim.tokens for victim in yielded) < ask:
            return False
        self._evict(yielded, ask, job)
        return ask == missing or self._make_room(now_s, job, need, backfill)

    def _evict(self, yielded: Sequence[Victim], most: int, cause: Job) -> None:
        for victim in yielded:
            context = victim.context
            tokens = min(-(-victim.tokens // self._page) * self._page, context.tokens, most)
            if tokens <= 0:
                break
            most -= tokens
            victim = Victim(context, tokens, victim.front)
            program = context.program
            if program is None:
                self._memory.evict(None, victim)
                continue
            job = self._jobs[program.program_id]
            self._memory.evict(job.holding, victim)
            if program.phase is Phase.ENDED:
                if not context.tokens:
                    del self._jobs[program.program_id]
                continue
            job.lost = True
            if job.turn is not None:
                job.turn.evicted = True
            if self._recorder:
                self._recorder.evicted(program.arrival, seconds(self._now))
            self._ledger.lost(job, tokens, cause, seconds(self._now))

    # Steps.

    def _step(self) -> None:
        """One step with prefill in it, mixed with decoding."""
        batch, costs = self._batch, self._ticks
        self._need_pages(1)
        if not self._prefilling:
            return
        budget = self._settings.chunk_tokens
        duration = costs.fixed + costs.decode * batch.kv_tokens
        served = self._served(budget)
        sharers = batch.turns + len(served)
        finished = 0
        for job in served:
            pays = sharers
            while job.todo and budget:
                first, last = job.todo.pop(0)
                end = min(last, first + budget)
                duration += self._ledger.prefilled(job, first, end, pays)
                budget -= end - first
                pays = 0
                if end < last:
                    job.todo.insert(0, (end, last))
            finished += not job.todo
        self._advance(1, duration, sharers)
        for _ in range(finished):
            self._prefilled(self._prefilling.popleft())
        self._finish_decoded()

    def _served(self, budget: int) -> list[Job]:
        """The turns that a step prefills, the earliest admitted first."""
        served = []
        for job in self._prefilling:
            if budget <= 0:
                break
            served.append(job)
            budget -= sum(last - first for first, last in job.todo)
        return served

    def _prefilled(self, job: Job) -> None:
        """A prompt is computed and the first token generated."""
        self._memory.share(job.holding, job.prompt)
        if self._host:
            for shared in job.path:
                if shared.context.host_tokens < shared.context.tokens:
                    self._host.write(shared.context, self._drop_host)
        if len(job.outcome.ttft_s) == job.turn_index:
            job.outcome.ttft_s.append(seconds(self._now) - job.queued.queued_s)
        job.left -= 1
        job.ticket = self._batch.join(job, job.prompt, job.left)
        self._ledger.decodes(job)
        self._note(job, Activity.DECODE)

    def _leave_batch(self, job: Job) -> int:
        """A decoding turn leaves the batch with its KV; returns how many steps it was in it."""
        length = self._batch.leave(job.ticket)
        job.ticket = 0
        steps = length - job.prompt
        self._ledger.decoded(job, steps)
        job.program.served_tokens += steps
        del self._running[job.queued]
        self._release(job, length)
        return steps

    def _release(self, job: Job, tokens: int) -> None:
        """The KV of a turn that left the batch becomes idle."""
        now_s = seconds(self._now)
        self._memory.release(now_s, job.holding, tokens)
        self._ledger.holds(job, now_s)
        if self._host:
            self._host.write(job.holding.context, self._drop_host)

    def _drop_host(self, copies: Collection[Context]) -> Context:
        return self._policy.drop_host(seconds(self._now), copies)

    def _decode(self) -> None:
        """All decode steps up to the next event at once."""
        batch = self._batch
        limit = batch.steps_to_end()
        if self._events:
            limit = batch.steps_until(self._events.next_at - self._now, limit)
        room = batch.steps_within(self._memory.free, limit)
        if not room:
            self._need_pages(min(limit, self._page))
            return
        if self._stepwise:
            room = 1
        self._advance(room, batch.duration(room), batch.turns)
        self._finish_decoded()

    def _need_pages(self, steps: int) -> None:
        """Make room for the next decode step, and if it is easy for `steps` of them."""
        batch, memory = self._batch, self._memory
        while batch.turns and memory.free < batch.pages_for(1):
            now_s = seconds(self._now)
            turn = min(self._running, key=lambda turn: self._policy.rank(now_s, turn))
            job = self._running[turn]
            missing = (batch.pages_for(steps) - memory.free) * self._page
            yielded = self._policy.reclaim(
                now_s, turn, missing, list(memory.idle), self, backfill=False
            )
            self._evict(yielded or [], missing, job)
            if memory.free < batch.pages_for(1):
                there = [turn for turn, job in self._running.items() if not job.loading]
                self._preempt(self._running[self._policy.preempt(now_s, there)])

    def _preempt(self, job: Job) -> None:
        """Take a turn out of the batch and let it wait with what it has generated."""
        if len(self._running) == 1:
            raise PolicyStuck(
                f"program {job.program.program_id}: a turn of {job.prompt} tokens and its output "
                f"do not fit a KV memory of {self.capacity_tokens} tokens",
                hint="give the engine more KV memory or leave the program out",
            )
        if job.ticket:
            steps = self._leave_batch(job)
            job.left -= steps
            job.reusable = job.prompt + steps
            job.prompt += steps + 1
        else:
            self._prefilling.remove(job)
            del self._running[job.queued]
            kept = self._memory.shrink(job.holding, job.todo[0][0])
            self._release(job, kept)
            job.reusable = max(job.reusable, job.todo[0][0])
        job.outcome.preemptions += 1
        job.queued.preempted = True
        job.queued.prompt_tokens = job.prompt
        job.program.phase = Phase.PREEMPTED
        self._wait(job)

    def _advance(self, steps: int, duration: int, sharers: int) -> None:
        batch = self._batch
        self._memory.used += batch.pages_for(steps)
        kv_steps = steps * batch.kv_tokens + batch.turns * (steps * (steps - 1) // 2)
        self._ledger.stepped(steps, duration, len(self._running), kv_steps, sharers)
        batch.advance(steps)
        self._now += duration

    def _finish_decoded(self) -> None:
        for job in self._batch.ended():
            self._end_turn(job)

    def _note(self, job: Job, activity: Activity) -> None:
        if self._recorder:
            turn = job.outcome.turns - (activity in (Activity.TOOL, Activity.CHILDREN))
            self._recorder.does(job.program.arrival, activity, turn, seconds(self._now))

    def _occupancy(self) -> Occupancy:
        memory, now_s = self._memory, seconds(self._now)
        idle = sum(context.tokens for context in memory.idle)
        leased = sum(context.tokens for context in memory.idle if context.leased(now_s))
        used = memory.used * self._page
        return Occupancy(
            now_s,
            used - idle,
            leased,
            idle - leased,
            self.free_tokens,
            len(self._queue),
            len(self._programs),
        )


def _host_tier(settings: EngineSettings) -> HostTier | None:
    costs = settings.costs
    if not settings.host_tokens or costs.host_s is None:
        return None
    return HostTier(settings.host_tokens, ticks(costs.host_s), ticks(costs.host_latency_s))
