"""Several engines on the same lists, run by run in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from agentrt.replay.live.drive import replay_live
from agentrt.replay.live.engine import LiveEngine
from agentrt.replay.live.run import HintMode, LiveRun, RunSettings
from agentrt.replay.program_list import ProgramList
from agentrt_engine.simulated.workload import ProgramPlan


@dataclass(frozen=True, slots=True)
class Rounds:
    """Runs in which each engine gets each list.

    Attributes:
        concurrencies: of further rounds; a single None where the lists have arrivals.
        repeats: of each list.
        record: keep a timeline of the first run of each engine.
        outputs: keep what was generated.
    """

    lists: Sequence[ProgramList]
    concurrencies: Sequence[int | None]
    repeats: int = 1
    record: bool = False
    outputs: bool = False

    def settings(self, hints: HintMode | None) -> Iterator[tuple[ProgramList, RunSettings]]:
        """One for each round."""
        for concurrency in self.concurrencies:
            for index, programs in enumerate(self.lists):
                for repeat in range(1, self.repeats + 1):
                    first = index == 0 and repeat == 1
                    settings = RunSettings(
                        concurrency=concurrency,
                        repeat=repeat,
                        hints=hints,
                        record=self.record and first,
                        outputs=self.outputs,
                    )
                    yield programs, settings

    def programs(self) -> int:
        """Programs of one engine in all rounds, children not counted."""
        return len(self.concurrencies) * self.repeats * sum(map(len, self.lists))


@dataclass(slots=True)
class Measured:
    """What rounds came to.

    Attributes:
        runs: per engine, in the order of the rounds.
        unflushed: engines whose cache could not be emptied.
    """

    runs: list[list[LiveRun]]
    unflushed: set[int] = field(default_factory=set)


async def measure(
    engines: Sequence[LiveEngine],
    plans: Sequence[ProgramPlan],
    rounds: Rounds,
    *,
    hints: HintMode | None = None,
    flush: bool = False,
    on_progress: Callable[[int], None] = lambda _ended: None,
) -> Measured:
    """Run all rounds, one engine after the other in each, another one first each time.

    So a machine that grows slower, or a neighbour that comes and goes, falls on all of them.

    Args:
        on_progress: called with the number of programs that have ended so far.
    """
    measured = Measured([[] for _ in engines])
    done = 0
    for number, (programs, settings) in enumerate(rounds.settings(hints)):
        for place in range(len(engines)):
            index = (number + place) % len(engines)
            if flush and not await engines[index].flush():
                measured.unflushed.add(index)
            run = await replay_live(
                plans,
                engines[index],
                programs,
                settings,
                on_progress=partial(_after, done, on_progress),
            )
            done += len(programs)
            on_progress(done)
            measured.runs[index].append(run)
    return measured


def _after(before: int, on_progress: Callable[[int], None], ended: int) -> None:
    """So many have ended in this run, and others in runs before."""
    on_progress(before + ended)
