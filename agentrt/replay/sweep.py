"""Closed-loop runs at several concurrencies: is there a cliff?"""

from __future__ import annotations

from collections.abc import Sequence

from agentrt.replay.matrix import Run
from agentrt.replay.program_list import ProgramList
from agentrt.replay.report import SweepPoint
from agentrt.replay.row import hit_rates, throughputs
from agentrt_engine.outcome import RunOutcome

#: Concurrencies where nothing else was asked for.
DEFAULT_SWEEP = (4, 8, 16, 32)

#: A sweep that was not asked for is made only if there are at most so many turns with it.
QUICK_TURNS = 300_000

#: Programs of a run, at least so many for each that is active: filling and draining weigh little.
PROGRAMS_PER_ACTIVE = 4


def sweep_runs(
    policies: Sequence[str], concurrencies: Sequence[int], lists: Sequence[ProgramList]
) -> list[Run]:
    """The runs of a sweep: for each policy, for each concurrency, all lists."""
    return [
        Run(policy, ProgramList(programs.seed, programs.programs), concurrency)
        for policy in policies
        for concurrency in concurrencies
        for programs in lists
    ]


def sweep_points(runs: Sequence[Run], outcomes: Sequence[RunOutcome]) -> list[SweepPoint]:
    """What the runs of a sweep came to, the seeds of each point together."""
    points: dict[tuple[str, int], list[RunOutcome]] = {}
    for run, outcome in zip(runs, outcomes, strict=True):
        points.setdefault((run.policy, run.concurrency or 0), []).append(outcome)
    return [
        SweepPoint(policy, concurrency, throughputs(found), hit_rates(found))
        for (policy, concurrency), found in points.items()
    ]
