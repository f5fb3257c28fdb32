"""The event loop, and the life of programs in it: they arrive, take turns, pause and end.

Time is virtual and whole (`clock.py`). Between events nothing but decoding happens, so the
loop jumps over all steps up to the next event; the result is the same as one step at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from agentrt_engine.errors import PolicyStuck
from agentrt_engine.outcome import Activity, ProgramOutcome
from agentrt_engine.policy.program import Phase, Turn
from agentrt_engine.policy.protocol import Policy
from agentrt_engine.simulated.admission import Admission
from agentrt_engine.simulated.arrivals import Arrivals
from agentrt_engine.simulated.clock import seconds
from agentrt_engine.simulated.events import Event
from agentrt_engine.simulated.eviction import Eviction
from agentrt_engine.simulated.isolated import Isolated
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.recorder import Recorder
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.state import State
from agentrt_engine.simulated.steps import Steps
from agentrt_engine.simulated.workload import ProgramPlan

#: Rechecks in a row with nothing running and nothing to come, before a policy counts as stuck.
MAX_FRUITLESS = 1000

#: Programs that end between two reports of progress.
PROGRESS_EVERY = 16


class SimulatedEngine:
    """One engine in virtual time, for one run.

    Args:
        recorder: keeps a timeline.
        on_progress: called now and then with programs ended and programs in all.
        stepwise: do every decode step by itself instead of jumping; for tests.

    Attributes:
        state: everything that changes during the run.
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
        self.state = State(settings, policy, recorder)
        self._policy = policy
        self._on_progress = on_progress
        self._eviction = Eviction(self.state)
        self._admission = Admission(self.state, self._eviction)
        self._steps = Steps(self.state, self._eviction, stepwise=stepwise)
        self._isolated = Isolated(
            self.state.ticks, chunk_tokens=settings.chunk_tokens, page=settings.page
        )
        self._ended = 0
        self._fruitless = 0
        self._copies: Counter[str] = Counter()
        policy.attach(settings.costs)

    def run(self, arrivals: Arrivals) -> list[ProgramOutcome]:
        """Run all programs to their end.

        Raises:
            PolicyStuck: the policy admits nothing although nothing runs.
        """
        state = self.state
        self._arrivals = arrivals
        for plan, at in arrivals.first():
            self._arrive_at(at, plan, None)
        while True:
            self._deliver_events()
            if state.queue_changed:
                self._admission.round()
            if state.prefilling:
                self._steps.prefill()
                self._end_turns()
            elif state.batch.turns:
                self._steps.decode()
                self._end_turns()
            elif state.events:
                state.now = state.events.next_at
            elif state.queue:
                raise self._stuck()
            else:
                return state.outcomes

    def _stuck(self) -> PolicyStuck:
        return PolicyStuck(
            f"policy {self._policy.name}: {len(self.state.queue)} turns wait, nothing runs and "
            f"none is admitted at {self.state.now_s:.3f} s",
            hint="a policy must admit a turn when nothing runs: see docs/policies.md",
        )

    def _deliver_events(self) -> None:
        state, events = self.state, self.state.events
        while events and events.next_at <= state.now:
            at, event, job = events.pop()
            if event is Event.RECHECK:
                self._admission.rechecked()
                self._fruitless = 0 if state.in_batch or events else self._fruitless + 1
                if self._fruitless > MAX_FRUITLESS:
                    raise self._stuck()
            elif job is None:
                raise AssertionError(f"an event {event} without a program")
            elif event is Event.ARRIVAL:
                self._started(job, at)
            elif event is Event.RETURN:
                self._awaited(job, at)
            else:
                job.loading = False
                state.prefilling.append(job)

    def _arrive_at(self, at: int, plan: ProgramPlan, parent: Job | None) -> None:
        self._copies[plan.program_id] += 1
        copy = self._copies[plan.program_id]
        program_id = plan.program_id if copy == 1 else f"{plan.program_id}~{copy}"
        self.state.events.add(at, Event.ARRIVAL, Job.of(plan, parent, program_id))

    def _started(self, job: Job, at: int) -> None:
        state, program = self.state, job.program
        program.arrival = len(state.outcomes)
        program.arrival_s = seconds(at)
        job.outcome.arrival_s = program.arrival_s
        job.outcome.isolated_s = seconds(self._isolated.job_time(job.plan))
        state.outcomes.append(job.outcome)
        state.jobs[program.program_id] = job
        state.live[program.program_id] = program
        if job.parent is not None:
            job.parent.program.children += (program,)
            program.parent = job.parent.program
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
        state, plan, program = self.state, job.planned, job.program
        job.path = state.memory.path(plan.segments)
        job.prompt, job.reusable = plan.input_tokens, plan.reusable_tokens
        job.left = plan.output_tokens
        job.turn = Turn(program, seconds(at), plan.input_tokens, evicted=job.lost)
        job.lost = False
        program.phase = Phase.WAITING
        program.tool = None
        if state.recorder:
            state.recorder.returns(program.arrival, seconds(at))
        state.wait(job)

    def _end_turns(self) -> None:
        """The turns that have generated their last token end."""
        for job in self.state.batch.ended():
            self._eviction.leave_batch(job)
            job.turn = None
            self._count_turn(job)
            self.state.queue_changed = True
            if job.turn_index == len(job.plan.turns):
                self._end_program(job)
            else:
                self._pause(job)

    @staticmethod
    def _count_turn(job: Job) -> None:
        plan, program = job.planned, job.program
        program.turns += 1
        program.previous_tokens = program.context_tokens
        program.context_tokens = plan.input_tokens + plan.output_tokens
        program.output_tokens = plan.output_tokens
        job.outcome.turns += 1
        job.outcome.output_tokens += plan.output_tokens
        job.turn_index += 1

    def _pause(self, job: Job) -> None:
        state, policy, program = self.state, self._policy, job.program
        plan = job.plan.turns[job.turn_index - 1]
        ends_at = state.now + plan.pause
        program.phase = Phase.PAUSED
        program.paused_s = state.now_s
        program.tool = plan.tool
        program.children = ()
        knows = policy.knows_future and not plan.waits_for
        program.returns_s = seconds(ends_at) if knows else None
        policy.turn_ended(state.now_s, program)
        policy.tool_started(state.now_s, program, plan.tool)
        job.awaits = 1 + len(plan.waits_for)
        state.events.add(ends_at, Event.RETURN, job)
        for child in plan.waits_for:
            self._arrive_at(state.now, child, job)
        job.holding.context.lease = policy.lease(state.now_s, program, state)
        state.note(job, Activity.CHILDREN if plan.waits_for else Activity.TOOL)
        if state.recorder and not plan.waits_for:
            predicted = [policy.predict_pause(program, quantile) for quantile in (0.5, 0.95)]
            state.recorder.pauses(program.arrival, plan.tool, state.now_s, *predicted)

    def _awaited(self, job: Job, at: int) -> None:
        """One of the things that a paused program waits for is over."""
        job.awaits -= 1
        if not job.awaits:
            job.program.prompt_tokens = job.planned.input_tokens
            self._foretell(job)
            self._policy.pause_ended(seconds(at), job.program)
            self._enqueue(job, at)

    def _end_program(self, job: Job) -> None:
        state, program = self.state, job.program
        job.outcome.end_s = state.now_s
        program.phase = Phase.ENDED
        self._policy.turn_ended(state.now_s, program)
        self._policy.program_ended(state.now_s, program)
        if state.recorder:
            state.recorder.stops(program.arrival, state.now_s)
        state.memory.forget(job.holding, keep=not self._policy.knows_ends)
        if state.host and self._policy.knows_ends:
            state.host.forget(job.holding.context)
        del state.live[program.program_id]
        if not job.holding.context.tokens:
            del state.jobs[program.program_id]
        self._ended += 1
        if self._on_progress and self._ended % PROGRESS_EVERY == 0:
            self._on_progress(self._ended, self._arrivals.total)
        if job.parent is not None:
            self._awaited(job.parent, state.now)
        elif (plan := self._arrivals.after_end()) is not None:
            self._arrive_at(state.now, plan, None)
