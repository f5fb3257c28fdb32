"""Policies beside each other on the same programs: runs, rows, bounds and a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentrt.replay.matrix import Run, Simulation, run_all
from agentrt.replay.parallel import Report
from agentrt.replay.program_list import ProgramList
from agentrt.replay.report import SweepPoint
from agentrt.replay.row import Row, isolated_row, make_row
from agentrt.replay.sweep import sweep_points, sweep_runs
from agentrt.replay.workload import Workload, count_turns
from agentrt_engine.outcome import RunOutcome

#: Policies that no engine can have: idle KV costs nothing; memory has no end.
BOUNDS = ("oracle-retention", "infinite-kv")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be run.

    Attributes:
        policies: with their parameters, in the order of the table.
        lists: programs of each seed.
        concurrency: programs always active; None where the lists have arrivals.
        bounds: append the rows of the bounds.
        record: keep a timeline of the first seed of each policy.
        sweep: concurrencies of further, closed-loop runs.
        sweep_lists: programs of those.
    """

    policies: Sequence[str]
    lists: Sequence[ProgramList]
    concurrency: int | None
    bounds: bool = True
    record: bool = False
    sweep: Sequence[int] = ()
    sweep_lists: Sequence[ProgramList] = ()

    def all_policies(self) -> list[str]:
        """The policies, then the bounds that are not among them."""
        return list(dict.fromkeys([*self.policies, *(BOUNDS if self.bounds else ())]))

    def runs(self) -> list[Run]:
        """All runs of the table."""
        return [
            Run(
                policy,
                programs,
                self.concurrency,
                record=self.record and index == 0 and policy in self.policies,
            )
            for policy in self.all_policies()
            for index, programs in enumerate(self.lists)
        ]

    def sweep_runs(self) -> list[Run]:
        """All runs of the sweep."""
        return sweep_runs(self.all_policies(), self.sweep, self.sweep_lists)

    def programs(self) -> int:
        """Programs of all runs together, children not counted."""
        return sum(len(run.programs) for run in [*self.runs(), *self.sweep_runs()])

    def turns(self, workload: Workload) -> int:
        """Turns of all runs together."""
        turns = list(map(count_turns, workload.plans))
        runs = [*self.runs(), *self.sweep_runs()]
        return sum(turns[program] for run in runs for program in run.programs.programs)


@dataclass(slots=True)
class Compared:
    """What it came to.

    Attributes:
        rows: of the policies, then of the bounds.
        outcomes: of the runs of the table.
    """

    rows: list[Row]
    outcomes: list[RunOutcome]
    sweep: list[SweepPoint] = field(default_factory=list)


def compare(
    simulation: Simulation, comparison: Comparison, *, workers: int, on_progress: Report
) -> Compared:
    """Run everything.

    Args:
        workers: processes; the result does not depend on it.
        on_progress: called now and then with the number of programs that have ended.

    Raises:
        PolicyStuck: a policy admits nothing although nothing runs.
        ReplayError: a worker process ended by itself.
    """
    runs, further = comparison.runs(), comparison.sweep_runs()
    outcomes = run_all(simulation, [*runs, *further], workers=workers, on_progress=on_progress)
    table, swept = outcomes[: len(runs)], outcomes[len(runs) :]
    seeds = len(comparison.lists)
    by_policy = [table[at : at + seeds] for at in range(0, len(table), seeds)]
    rows = [make_row(found) for found in by_policy]
    if comparison.bounds:
        rows.append(isolated_row(by_policy[0]))
    return Compared(rows, table, sweep_points(further, swept))
