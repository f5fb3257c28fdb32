"""Runs of the simulated engine on small workloads, for tests of its laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from agentrt_engine.outcome import ProgramOutcome
from agentrt_engine.policy import (
    Costs,
    EngineView,
    Gate,
    Policy,
    Program,
    Turn,
    make_policy,
    policy_names,
)
from agentrt_engine.simulated.arrivals import Arrivals, ClosedLoop, OpenLoop
from agentrt_engine.simulated.engine import SimulatedEngine
from agentrt_engine.simulated.job import Job
from agentrt_engine.simulated.memory import Holding
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.workload import ProgramPlan, plan_workload
from agentrt_engine.wire.trace import ProgramRecord

#: As of a large model, so that contexts of a few hundred tokens cost as much as a short pause.
COSTS = Costs(fixed_s=0.005, decode_s=3e-7, prefill_s=2e-4, position_s=8e-8)

#: Every policy, and the parameters that make it decide differently.
SPECIFICATIONS = (
    *policy_names(),
    "continuum:reading=pressure,eta=learned",
    "fixed-ttl:seconds=0.5,reading=pressure",
    "static-cap:programs=2",
    "guard:price=0",
    "guard:gate=no",
    "guard:headroom=0,newcomer=0,price=3",
)


def settings(
    kv_tokens: int = 1600,
    *,
    page: int = 16,
    chunk_tokens: int = 200,
    max_running: int = 5,
    costs: Costs = COSTS,
) -> EngineSettings:
    """A small engine."""
    return EngineSettings(costs, kv_tokens, chunk_tokens, max_running, page)


def open_loop(plans: Sequence[ProgramPlan], *, faster: float = 1.0) -> OpenLoop:
    """Arrivals at the times of the trace, `faster` times as dense."""
    return OpenLoop(plans, [(plan.arrival_s or 0.0) / faster for plan in plans])


def loop(plans: Sequence[ProgramPlan], kind: str) -> Arrivals:
    """`open`: at the times of the trace; `closed`: four at a time."""
    return open_loop(plans, faster=3.0) if kind == "open" else ClosedLoop(plans, 4)


def run(
    records: Sequence[ProgramRecord],
    specification: str,
    engine: EngineSettings,
    *,
    kind: str = "open",
    stepwise: bool = False,
) -> list[ProgramOutcome]:
    """The outcome of every program."""
    plans = plan_workload(records, page=engine.page)
    simulated = SimulatedEngine(engine, make_policy(specification), stepwise=stepwise)
    return simulated.run(loop(plans, kind))


class Watch:
    """A policy that holds the engine to its laws whenever it is asked or told something.

    It passes everything on to another policy.

    Attributes:
        busy_s: the time of all steps so far.
        idle_s: the longest time in which nothing ran although the turn at the head of the queue
            would have fitted free and idle memory together.
        refused_s: the longest of them in which the policy had opened its gate for that turn.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._round = False
        self._idle_since: float | None = None
        self._refused_since: float | None = None
        self.engine: SimulatedEngine | None = None
        self.busy_s = 0.0
        self.idle_s = 0.0
        self.refused_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def open_gate(self, now: float, engine: EngineView) -> None:
        self._check_memory()
        self._note_idleness(now)
        self._round = True
        self._policy.open_gate(now, engine)

    def admit(self, now: float, turn: Turn, engine: EngineView) -> Gate:
        gate = self._policy.admit(now, turn, engine)
        if self._round:
            self._round = False
            if engine.running or not self._would_fit(turn):
                self._idle_since = self._refused_since = None
                return gate
            if self._idle_since is None:
                self._idle_since = now
            if gate is not Gate.OPEN:
                self._refused_since = None
            elif self._refused_since is None:
                self._refused_since = now
        return gate

    def turn_started(self, now: float, turn: Turn, *, cached: bool) -> None:
        self._check_memory()
        self._note_idleness(now)
        self._idle_since = self._refused_since = None
        self._policy.turn_started(now, turn, cached=cached)

    def turn_ended(self, now: float, program: Program) -> None:
        self._check_memory()
        self._policy.turn_ended(now, program)

    def stepped(
        self, now: float, seconds: float, running: float, kv_tokens: float, fixed: float
    ) -> None:
        self.busy_s += seconds
        self._policy.stepped(now, seconds, running, kv_tokens, fixed)

    def _note_idleness(self, now: float) -> None:
        if self._idle_since is not None:
            self.idle_s = max(self.idle_s, now - self._idle_since)
        if self._refused_since is not None:
            self.refused_s = max(self.refused_s, now - self._refused_since)

    def _check_memory(self) -> None:
        assert self.engine is not None
        engine = self.engine
        assert len(engine.state.running) <= engine.state.settings.max_running
        engine.state.memory.check(self._grown(engine, job) for job in engine.state.jobs.values())

    @staticmethod
    def _grown(engine: SimulatedEngine, job: Job) -> Holding:
        """What the program holds, with the pages its turn has taken since it began to decode."""
        holding, batch, page = job.holding, engine.state.batch, engine.state.settings.page
        if not job.ticket:
            return holding
        _turn, length, joined = batch._members[job.ticket]
        length += batch.steps - joined
        shared = sum(shared.size for shared in holding.path)
        return Holding(holding.context, holding.path, -(-length // page) - shared // page)

    def _would_fit(self, turn: Turn) -> bool:
        assert self.engine is not None
        memory, page = self.engine.state.memory, self.engine.state.settings.page
        idle = sum(context.tokens for context in memory.idle) // page
        return -(-(turn.prompt_tokens + 1) // page) <= memory.free + idle


def watched(
    records: Sequence[ProgramRecord],
    specification: str,
    engine: EngineSettings,
    *,
    kind: str = "open",
) -> tuple[Watch, list[ProgramOutcome]]:
    """The outcome of every program, and who watched the engine meanwhile."""
    watch = Watch(make_policy(specification))
    watch.engine = SimulatedEngine(engine, cast("Policy", watch))
    return watch, watch.engine.run(loop(plan_workload(records, page=engine.page), kind))
