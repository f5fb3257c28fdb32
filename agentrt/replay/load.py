"""How programs come to the engine: so many at once, at a rate, as recorded, or as listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentrt.errors import ReplayError
from agentrt.replay.program_list import ProgramList, drawn_list, poisson_list, recorded_list
from agentrt.replay.runs_file import ChosenCell, listed_programs
from agentrt.replay.workload import Workload


class Load(Protocol):
    """Makes the list of programs of each seed, the same for every policy."""

    @property
    def concurrency(self) -> int | None:
        """Programs always active; None where the lists have arrivals."""

    @property
    def rate(self) -> float | None:
        """Arrivals per second, where they were drawn with one."""

    def lists(
        self, workload: Workload, *, seeds: Sequence[int] | None, programs: int | None
    ) -> list[ProgramList]:
        """One list per seed.

        Args:
            seeds: None: whatever is usual.
            programs: of each list; None: every program once.

        Raises:
            ReplayError: there can be no such lists.
        """

    def described(self) -> str:
        """For people."""

    def flags(self) -> list[str]:
        """Words of a command line that choose it."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A fixed number of programs is active; the next one arrives when one ends."""

    concurrency: int
    rate: None = None

    def lists(
        self, workload: Workload, *, seeds: Sequence[int] | None, programs: int | None
    ) -> list[ProgramList]:
        available = len(workload.plans)
        return [drawn_list(available, programs or available, seed) for seed in seeds or (1,)]

    def described(self) -> str:
        return f"{self.concurrency} programs always active"

    def flags(self) -> list[str]:
        return ["--concurrency", str(self.concurrency)]


@dataclass(frozen=True, slots=True)
class Poisson:
    """Arrivals at random, `rate` per second on average."""

    rate: float
    concurrency: None = None

    def lists(
        self, workload: Workload, *, seeds: Sequence[int] | None, programs: int | None
    ) -> list[ProgramList]:
        available = len(workload.plans)
        return [
            poisson_list(available, programs or available, seed, rate=self.rate)
            for seed in seeds or (1,)
        ]

    def described(self) -> str:
        return f"{self.rate:g} programs per second (Poisson)"

    def flags(self) -> list[str]:
        return ["--rate", f"{self.rate:.12g}"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Arrivals as the trace has them."""

    rate: None = None
    concurrency: None = None

    def lists(
        self, workload: Workload, *, seeds: Sequence[int] | None, programs: int | None
    ) -> list[ProgramList]:
        if seeds and len(seeds) > 1:
            raise ReplayError(
                f"--seed {','.join(map(str, seeds))}: nothing is drawn with --arrivals trace, "
                "so every seed is the same",
                hint="leave --seed out",
            )
        if programs is not None and programs > len(workload.plans):
            raise ReplayError(
                f"--programs {programs}: the trace has {len(workload.plans)} programs with "
                "recorded arrivals",
                hint="draw more with --rate or --concurrency",
            )
        times = []
        for plan in workload.plans:
            if plan.arrival_s is None:
                raise ReplayError(
                    f"--arrivals trace: program {plan.program_id} has no arrival in the trace",
                    hint="give --rate or --concurrency",
                )
            times.append(plan.arrival_s)
        return [recorded_list(times, (seeds or (1,))[0], programs)]

    def described(self) -> str:
        return "arrivals of the trace"

    def flags(self) -> list[str]:
        return ["--arrivals", "trace"]


@dataclass(frozen=True, slots=True)
class Listed:
    """Programs and arrivals as a file has them."""

    path: Path
    chosen: ChosenCell

    @property
    def concurrency(self) -> int | None:
        return self.chosen.cell.concurrency

    @property
    def rate(self) -> float | None:
        return self.chosen.cell.rate

    def lists(
        self, workload: Workload, *, seeds: Sequence[int] | None, programs: int | None
    ) -> list[ProgramList]:
        if programs is not None:
            raise ReplayError(
                f"--programs {programs}: with --runs the file says which programs run",
                hint="leave --programs out",
            )
        plans = {plan.program_id: index for index, plan in enumerate(workload.plans)}
        return listed_programs(self.chosen, seeds=seeds, plans=plans, left_out=workload.left_out)

    def described(self) -> str:
        cell = self.chosen.cell
        if cell.concurrency is not None:
            return f"{cell.concurrency} programs always active, as listed"
        rate = "" if cell.rate is None else f", {cell.rate:g} per second"
        return f"listed arrivals{rate}"

    def flags(self) -> list[str]:
        return ["--runs", str(self.path), "--cell", str(self.chosen.index)]
