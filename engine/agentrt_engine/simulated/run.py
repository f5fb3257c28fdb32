"""One run in virtual time: programs, arrivals, a policy and an engine make an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from agentrt_engine.outcome import ProgramOutcome, RunOutcome
from agentrt_engine.policy.protocol import Memory, Policy
from agentrt_engine.simulated.arrivals import Arrivals
from agentrt_engine.simulated.engine import SimulatedEngine
from agentrt_engine.simulated.recorder import Recorder
from agentrt_engine.simulated.settings import EngineSettings

#: Times at which the backlog of an open loop is sampled.
BACKLOG_SAMPLES = 100


def simulate(
    arrivals: Arrivals,
    policy: Policy,
    settings: EngineSettings,
    *,
    specification: str | None = None,
    seed: int = 0,
    record: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> RunOutcome:
    """Run programs to their end.

    Args:
        specification: the policy as the user wrote it, parameters included.
        seed: that the arrivals came from; only noted.
        record: keep a timeline.
        on_progress: called now and then with programs ended and programs in all.

    Raises:
        PolicyStuck: the policy admits nothing although nothing runs.
    """
    started = time.perf_counter()
    recorder = Recorder() if record else None
    engine = SimulatedEngine(settings, policy, recorder=recorder, on_progress=on_progress)
    programs = engine.run(arrivals)
    outcome = RunOutcome(
        policy=specification or policy.name,
        seed=seed,
        programs=programs,
        capacity_tokens=None if policy.memory is Memory.UNLIMITED else engine.state.capacity_tokens,
        makespan_s=max((program.end_s or 0.0 for program in programs), default=0.0),
        steps=engine.state.batch.steps,
        wall_s=time.perf_counter() - started,
        timeline=recorder.timeline() if recorder else None,
    )
    if not arrivals.closed:
        outcome.backlog = _backlog(outcome.jobs)
    return outcome


def _backlog(programs: Sequence[ProgramOutcome]) -> list[tuple[float, int]]:
    """Programs that had arrived and not ended, at evenly spaced times."""
    arrivals = sorted(program.arrival_s for program in programs)
    ends = sorted(program.end_s or 0.0 for program in programs)
    samples, arrived, ended = [], 0, 0
    for sample in range(1, BACKLOG_SAMPLES + 1):
        at = arrivals[-1] * sample / BACKLOG_SAMPLES
        while arrived < len(arrivals) and arrivals[arrived] <= at:
            arrived += 1
        while ended < len(ends) and ends[ended] <= at:
            ended += 1
        samples.append((at, arrived - ended))
    return samples
