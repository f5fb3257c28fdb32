"""A whole replay on live engines: its runs, its document, the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrt.errors import EngineLost
from agentrt.replay.comparison import Compared
from agentrt.replay.document import live_engines, make_document
from agentrt.replay.formats.validation import counted
from agentrt.replay.live.engine import LiveEngine
from agentrt.replay.live.facts import EngineFacts
from agentrt.replay.live.live_row import LAG_S, live_rows, run_entries
from agentrt.replay.live.outputs import TurnOutput
from agentrt.replay.live.rounds import Measured, Rounds, measure
from agentrt.replay.live.run import LiveRun
from agentrt.replay.live.scaling import scaled_list
from agentrt.replay.live.settings import LiveSettings
from agentrt.replay.load import Closed, Listed, Load, Poisson
from agentrt.replay.matrix import Run
from agentrt.replay.program_list import ProgramList, drawn_list
from agentrt.replay.sweep import PROGRAMS_PER_ACTIVE, sweep_points
from agentrt.replay.trace_file import Trace
from agentrt.replay.workload import Workload, described


@dataclass(frozen=True, slots=True)
class LiveReplay:
    """What the result depends on.

    Attributes:
        files: that the trace was read from.
        workload: scaled, and of what fits the engines.
        lists: programs of each seed, arrivals not scaled yet.
        sweep: concurrencies of further runs.
        record: keep a timeline of the first run of each engine.
        outputs: keep what was generated.
    """

    files: Sequence[Path]
    trace: Trace
    workload: Workload
    settings: LiveSettings
    load: Load
    lists: Sequence[ProgramList]
    engines: Sequence[EngineFacts]
    sweep: Sequence[int] = ()
    record: bool = False
    outputs: bool = False

    def rounds(self) -> Rounds:
        """The runs of the table."""
        lists = [scaled_list(programs, self.settings.time_scale) for programs in self.lists]
        return Rounds(
            lists,
            [self.load.concurrency],
            repeats=self.settings.repeats,
            record=self.record,
            outputs=self.outputs,
        )

    def sweep_rounds(self) -> Rounds:
        """The runs of the sweep: long enough, where lists are drawn and not given."""
        lists: list[ProgramList] = []
        for each in self.lists if self.sweep else ():
            if isinstance(self.load, Closed | Poisson):
                wanted = max(PROGRAMS_PER_ACTIVE * max(self.sweep), len(each))
                lists.append(drawn_list(len(self.workload.plans), wanted, each.seed))
            else:
                lists.append(ProgramList(each.seed, each.programs))
        return Rounds(lists, self.sweep)

    def programs(self) -> int:
        """Programs of all runs together, children not counted."""
        return len(self.engines) * (self.rounds().programs() + self.sweep_rounds().programs())

    async def run(
        self, engines: Sequence[LiveEngine], *, on_progress: Callable[[int], None]
    ) -> LiveResult:
        """Warm every engine up, then run everything.

        Raises:
            ModelRequestFailed: a warm-up request failed.
            EngineLost: on one engine not a single program got to its end.
        """
        for engine in engines:
            await engine.warm_up()
        settings, table, sweep = self.settings, self.rounds(), self.sweep_rounds()
        plans = self.workload.plans
        hints, flush = settings.hints, settings.flush
        found = await measure(
            engines, plans, table, hints=hints, flush=flush, on_progress=on_progress
        )
        for facts, runs in zip(self.engines, found.runs, strict=True):
            _require_an_end(facts, [run.failures[0].reason for run in runs if run.failures], runs)
        done = len(engines) * table.programs()
        swept = await measure(
            engines,
            plans,
            sweep,
            hints=hints,
            flush=flush,
            on_progress=lambda ended: on_progress(done + ended),
        )
        return LiveResult(self, found, swept)

    def command(self) -> str:
        """That repeats it, for a shell; without keys."""
        words = ["agentrt", "replay", *map(str, self.files)]
        for engine in self.engines:
            words += ["--engine", f"{engine.name}={engine.url}"]
        words += [*self.load.flags(), *self.settings.flags()]
        words += ["--seed", ",".join(str(programs.seed) for programs in self.lists)]
        if not isinstance(self.load, Listed):
            words += ["--programs", str(len(self.lists[0]))]
        if self.sweep:
            words += ["--sweep", ",".join(map(str, self.sweep))]
        return shlex.join(words)


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What a live replay came to."""

    replay: LiveReplay
    measured: Measured
    swept: Measured

    def compared(self) -> Compared:
        """Rows, outcomes and sweep, as those of a simulated replay."""
        excluded = len(self.replay.workload.left_out)
        sweep_runs: list[Run] = []
        sweep_outcomes = []
        rounds = [
            (programs, settings.concurrency)
            for programs, settings in self.replay.sweep_rounds().settings(None)
        ]
        for facts, runs in zip(self.replay.engines, self.swept.runs, strict=True):
            sweep_runs += [Run(facts.name, programs, active) for programs, active in rounds]
            sweep_outcomes += [run.outcome for run in runs]
        return Compared(
            live_rows(self.measured.runs, excluded),
            [run.outcome for runs in self.measured.runs for run in runs],
            sweep_points(sweep_runs, sweep_outcomes),
        )

    def failures(self) -> int:
        """Programs that did not get to their end, children counted."""
        return sum(len(run.failures) for found in self._all() for run in found)

    def outputs(self) -> list[TurnOutput]:
        """Of the runs of the table."""
        return [output for runs in self.measured.runs for run in runs for output in run.outputs]

    def document(self, compared: Compared) -> dict[str, Any]:
        """The result as `agentrt.replay.v1`."""
        replay = self.replay
        files = [str(path) for path in replay.files]
        return make_document(
            workload=described(replay.trace, files, replay.workload),
            engine=live_engines([facts.as_dict() for facts in replay.engines]),
            settings={
                "seeds": [programs.seed for programs in replay.lists],
                "load": replay.load.described(),
                "rate": replay.load.rate,
                "concurrency": replay.load.concurrency,
                "programs": len(replay.lists[0]),
                **replay.settings.as_dict(),
                "command": replay.command(),
            },
            rows=compared.rows,
            sweep=compared.sweep,
            runs=run_entries(self.measured.runs),
            notes=self.notes(),
        )

    def notes(self) -> list[str]:
        """What a reader of the figures must know, in sentences."""
        notes = [*self.replay.trace.notes, *self._general_notes()]
        for number, facts in enumerate(self.replay.engines):
            notes += [f"{facts.name}: {note}" for note in self._engine_notes(number, facts)]
        return notes

    def _all(self) -> list[list[LiveRun]]:
        return [*self.measured.runs, *self.swept.runs]

    def _general_notes(self) -> Iterator[str]:
        workload = self.replay.workload
        if workload.left_out:
            yield (
                f"{counted(len(workload.left_out), 'program')} of the trace left out: a turn does "
                "not fit the context of the model or the KV memory."
            )
        if workload.children:
            yield (
                f"the trace has {counted(workload.children, 'subagent')}: part of the programs "
                "that wait for them, not counted as programs."
            )
        lags_s = [lag for found in self._all() for run in found for lag in run.lags_s]
        if late := sum(lag_s > LAG_S for lag_s in lags_s):
            yield (
                f"the client lagged: {late} of {counted(len(lags_s), 'request')} were sent more "
                f"than {1000 * LAG_S:.0f} ms after they were due, the latest "
                f"{1000 * max(lags_s):.0f} ms. Times count from when they were due, so they "
                "include this."
            )

    def _engine_notes(self, number: int, facts: EngineFacts) -> Iterator[str]:
        runs = [*self.measured.runs[number], *self.swept.runs[number]]
        failures = [failure for run in runs for failure in run.failures]
        if failures:
            first = failures[0]
            yield (
                f"{counted(len(failures), 'program')} failed; the first, {first.program}, at turn "
                f"{first.turn}: {first.reason}"
            )
        if number in self.measured.unflushed:
            yield "the cache could not be emptied before the runs."
        if not facts.returns_ids:
            yield (
                "the engine does not say which tokens it generated: the next prompts have others "
                "in their place, so outputs cannot be hit."
            )
        if not all(run.cached_known for run in runs):
            yield "the engine does not say how many tokens it found in its cache: no hit rate."
        if short := sum(run.short_turns for run in runs):
            yield f"{counted(short, 'turn')} generated fewer tokens than the trace has."
        programs = [program for run in runs for program in run.outcome.programs]
        prompts = sum(program.new_tokens + program.reusable_tokens for program in programs)
        excess = sum(run.excess_tokens for run in runs)
        if excess > 0.01 * prompts:
            yield (
                f"{excess:,} tokens were in the cache that no request of these runs had left "
                "there: give --flush, or other seeds."
            )
        if refused := sum(run.refused_hints for run in runs):
            yield f"{refused} of {sum(run.hints for run in runs)} hints were not taken."


def _require_an_end(facts: EngineFacts, reasons: Sequence[str], runs: Sequence[LiveRun]) -> None:
    """Figures of an engine on which nothing works are no result."""
    if not any(job.end_s is not None for run in runs for job in run.outcome.jobs):
        raise EngineLost(
            f"not one program got to its end on {facts.name} at {facts.url}: {reasons[0]}",
            hint="see the log of the engine",
        )
