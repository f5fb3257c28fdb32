"""Everything that changes during a run, and what of it a policy may ask."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping

from agentrt_engine.outcome import Activity, Occupancy, ProgramOutcome
from agentrt_engine.policy.program import Context, Program, Turn
from agentrt_engine.policy.protocol import Costs, Memory, Policy
from agentrt_engine.simulated.batch import DecodeBatch
from agentrt_engine.simulated.clock import seconds, ticks
from agentrt_engine.simulated.costs import TickCosts
from agentrt_engine.simulated.events import Events
from agentrt_engine.simulated.host_tier import HostTier
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.ledger import Ledger
from agentrt_engine.simulated.memory import KvMemory
from agentrt_engine.simulated.recorder import Recorder
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.waiting_queue import WaitingQueue

#: Pages of an engine whose memory has no limit.
UNLIMITED_PAGES = 2**50


class State:
    """The state of a simulated engine; an `EngineView` for its policy.

    Attributes:
        now: virtual time.
        jobs: programs whose KV may be in memory, by id.
        live: programs that have arrived and not ended, in that order.
        in_batch: turns that are prefilled, decoded or on their way from host memory.
        prefilling: of them, those with prompt tokens to compute, the earliest admitted first.
        queue_changed: something happened that may let a waiting turn start.
    """

    def __init__(self, settings: EngineSettings, policy: Policy, recorder: Recorder | None) -> None:
        self.settings = settings
        self.policy = policy
        self.recorder = recorder
        self.page = settings.page
        self.ticks = TickCosts.of(settings.costs)
        self.now = 0
        unlimited = policy.memory is Memory.UNLIMITED
        self.memory = KvMemory(
            UNLIMITED_PAGES if unlimited else settings.kv_tokens // settings.page,
            settings.page,
            parks=policy.memory is Memory.FREE_RETENTION,
        )
        self.host = _host_tier(settings)
        self.batch: DecodeBatch[Job] = DecodeBatch(
            settings.page, self.ticks.fixed, self.ticks.decode, self.ticks.sequence
        )
        self.events = Events()
        self.ledger = Ledger(self.ticks, policy)
        self.queue = WaitingQueue(policy, self.memory)
        self.queue_changed = False
        self.jobs: dict[str, Job] = {}
        self.live: dict[str, Program] = {}
        self.in_batch: dict[Turn, Job] = {}
        self.prefilling: deque[Job] = deque()
        self.outcomes: list[ProgramOutcome] = []

    @property
    def now_s(self) -> float:
        """The time in seconds, as policies and outcomes have it."""
        return seconds(self.now)

    # What a policy may ask.

    @property
    def capacity_tokens(self) -> int:
        return self.memory.pages * self.page

    @property
    def host_tokens(self) -> int:
        return self.settings.host_tokens

    @property
    def free_tokens(self) -> int:
        return self.memory.free * self.page

    @property
    def costs(self) -> Costs:
        return self.settings.costs

    @property
    def looks(self) -> float:
        return math.inf

    @property
    def programs(self) -> Mapping[str, Program]:
        return self.live

    @property
    def running(self) -> Collection[Turn]:
        return self.in_batch.keys()

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def position(self, program: Program) -> int:
        return self.queue.position(self.jobs[program.program_id])

    def context(self, program: Program) -> Context:
        return self.jobs[program.program_id].holding.context

    # What several parts of the engine do.

    def wait(self, job: Job) -> None:
        """The job's turn enters the queue."""
        self.queue.add(self.now_s, job)
        self.queue_changed = True
        self.note(job, Activity.QUEUED)

    def release(self, job: Job, tokens: int) -> None:
        """The KV of a turn that left the batch becomes idle."""
        self.memory.release(self.now_s, job.holding, tokens)
        self.ledger.holds(job, self.now_s)
        if self.host:
            self.host.write(job.holding.context, self.drop_host)

    def drop_host(self, copies: Collection[Context]) -> Context:
        """Whose copy goes when the host tier is full."""
        return self.policy.drop_host(self.now_s, copies)

    def note(self, job: Job, activity: Activity) -> None:
        """The job does something else from now on."""
        if self.recorder:
            turn = job.outcome.turns - (activity in (Activity.TOOL, Activity.CHILDREN))
            self.recorder.does(job.program.arrival, activity, turn, self.now_s)

    def sample(self) -> None:
        """Record how full the memory is, if it is time to."""
        if self.recorder and self.recorder.wants_sample(self.now_s):
            self.recorder.sample(self._occupancy())

    def _occupancy(self) -> Occupancy:
        now_s = self.now_s
        idle = sum(context.tokens for context in self.memory.idle)
        leased = sum(context.tokens for context in self.memory.idle if context.leased(now_s))
        return Occupancy(
            time_s=now_s,
            running=self.memory.used * self.page - idle,
            leased=leased,
            cached=idle - leased,
            free=self.free_tokens,
            waiting_turns=len(self.queue),
            active_programs=len(self.live),
        )


def _host_tier(settings: EngineSettings) -> HostTier | None:
    costs = settings.costs
    if not settings.host_tokens or costs.host_s is None:
        return None
    return HostTier(settings.host_tokens, ticks(costs.host_s), ticks(costs.host_latency_s))
