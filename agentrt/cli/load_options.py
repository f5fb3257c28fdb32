"""Options that say which programs come to the engine, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from agentrt.cli.simulated_options import at_least_one, positive
from agentrt.errors import ReplayError
from agentrt.replay.load import Closed, Listed, Load, Poisson, Recorded
from agentrt.replay.quantity import seed_list
from agentrt.replay.runs_file import ChosenCell, choose_cell, load_runs

DEFAULT_CONCURRENCY = 16

LOAD_GROUP = Group("Programs and arrivals", sort_key=1)

Programs = Annotated[
    int | None,
    Parameter(
        name=["--programs", "-n"],
        validator=at_least_one,
        help="Programs per seed: all are shuffled and taken in order, again and again; by default "
        "every program once.",
    ),
]
SeedList = Annotated[
    list[str] | None,
    Parameter(
        negative="",
        help="Seeds of the lists of programs and arrivals, 1,2,3 or 1-20; by default 1, or all of "
        "--runs. For one seed all policies get the same list.",
    ),
]


class ArrivalSource(StrEnum):
    """`--arrivals`: where the times come from."""

    TRACE = "trace"


@Parameter(name="*", group=LOAD_GROUP)
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Programs and arrivals as a user describes them."""

    concurrency: Annotated[
        int | None,
        Parameter(
            validator=at_least_one,
            help="Programs always active: the next one starts when one ends; by default "
            f"{DEFAULT_CONCURRENCY} where no other load is given.",
        ),
    ] = None
    rate: Annotated[
        float | None,
        Parameter(validator=positive, help="Programs per second, arriving at random (Poisson)."),
    ] = None
    arrivals: Annotated[
        ArrivalSource | None, Parameter(help="Programs arrive when the trace says.")
    ] = None
    runs: Annotated[
        Path | None,
        Parameter(
            help='File with lists of programs and arrivals: {"runs": [{"seed", "programs", '
            '"arrival_s"}]}, or such cells. Settings it names hold unless they are given.'
        ),
    ] = None
    cell: Annotated[
        int | None,
        Parameter(
            help="Which cell of --runs, from 0; by default the one for this trace and KV memory."
        ),
    ] = None
    programs: Programs = None
    seed: SeedList = None

    def chosen_cell(self, traces: Sequence[Path], kv_tokens: int | None) -> ChosenCell | None:
        """The cell of `--runs`.

        Args:
            traces: whose first name says which workload it is.
            kv_tokens: None: any.

        Raises:
            ReplayError: options contradict each other, or the file has no such cell.
        """
        given = {
            "--concurrency": self.concurrency,
            "--rate": self.rate,
            "--arrivals": self.arrivals,
            "--runs": self.runs,
        }
        named = [option for option, value in given.items() if value is not None]
        if len(named) > 1:
            raise ReplayError(
                f"{' and '.join(named)} are given: expected one of {', '.join(given)}"
            )
        if self.runs is None:
            if self.cell is not None:
                raise ReplayError(f"--cell {self.cell}: expected --runs FILE with it")
            return None
        stem = traces[0].name.partition(".")[0]
        return choose_cell(
            load_runs(self.runs), index=self.cell, workload=stem, kv_tokens=kv_tokens
        )

    def load(self, cell: ChosenCell | None) -> Load:
        """How programs come, given what `chosen_cell` found."""
        if cell is not None and self.runs is not None:
            return Listed(self.runs, cell)
        if self.rate is not None:
            return Poisson(self.rate)
        if self.arrivals is not None:
            return Recorded()
        return Closed(self.concurrency or DEFAULT_CONCURRENCY)

    @property
    def seeds(self) -> list[int] | None:
        """Those given; None where none was.

        Raises:
            SettingError: one is not a seed.
        """
        return seed_list(self.seed) if self.seed else None
