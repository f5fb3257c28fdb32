"""All runs of a comparison on simulated engines: policies times seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentrt.replay.parallel import Report, parallel
from agentrt.replay.program_list import ProgramList
from agentrt_engine.outcome import RunOutcome
from agentrt_engine.policy import make_policy
from agentrt_engine.simulated.arrivals import ClosedLoop, OpenLoop
from agentrt_engine.simulated.run import simulate
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.workload import ProgramPlan


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        policy: with its parameters.
        concurrency: programs always active; None where the list has arrivals.
        record: keep a timeline.
    """

    policy: str
    programs: ProgramList
    concurrency: int | None = None
    record: bool = False


@dataclass(frozen=True, slots=True)
class Simulation:
    """What all runs have in common.

    Attributes:
        excluded: programs left out of the plans.
    """

    plans: list[ProgramPlan]
    settings: EngineSettings
    excluded: int = 0


def run_all(
    simulation: Simulation, runs: Sequence[Run], *, workers: int, on_progress: Report
) -> list[RunOutcome]:
    """Outcomes in the order of the runs.

    Args:
        workers: processes.
        on_progress: called now and then with the number of programs that have ended.

    Raises:
        PolicyStuck: a policy admits nothing although nothing runs.
        ReplayError: a worker process ended by itself.
    """
    return parallel(run_one, simulation, runs, workers=workers, on_progress=on_progress)


def run_one(simulation: Simulation, run: Run, report: Report) -> RunOutcome:
    """One run to its end."""
    plans = [simulation.plans[index] for index in run.programs.programs]
    arrivals: OpenLoop | ClosedLoop
    if run.programs.arrival_s is not None:
        arrivals = OpenLoop(plans, run.programs.arrival_s)
    elif run.concurrency is not None:
        arrivals = ClosedLoop(plans, run.concurrency)
    else:
        raise ValueError("a list without arrivals needs a concurrency")

    def ended(number: int, total: int) -> None:
        # Children count here, but not in the list.
        report(min(len(plans), len(plans) * number // max(1, total)))

    outcome = simulate(
        arrivals,
        make_policy(run.policy),
        simulation.settings,
        specification=run.policy,
        seed=run.programs.seed,
        record=run.record,
        # Children count there, but not in the list.
        on_progress=lambda ended, total: report(
            min(len(plans), len(plans) * ended // max(1, total))
        ),
    )
    report(len(plans))
    outcome.excluded = simulation.excluded
    return outcome
