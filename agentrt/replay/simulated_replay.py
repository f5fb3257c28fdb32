"""A whole replay on a simulated engine: its runs, its document, the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentrt.replay.comparison import Compared, Comparison, compare
from agentrt.replay.document import make_document, simulated_engine
from agentrt.replay.load import Closed, Listed, Load, Poisson
from agentrt.replay.matrix import Simulation
from agentrt.replay.parallel import Report
from agentrt.replay.program_list import ProgramList, drawn_list
from agentrt.replay.replay_settings import SimulatedSettings
from agentrt.replay.sweep import DEFAULT_SWEEP, PROGRAMS_PER_ACTIVE, QUICK_TURNS
from agentrt.replay.trace_file import Trace
from agentrt.replay.workload import Workload, described, make_workload
from agentrt_engine.lora_sharing import LoraSharing


@dataclass(frozen=True, slots=True)
class SimulatedReplay:
    """What the result depends on.

    Attributes:
        files: that the trace was read from.
        workload: as the first mode of LoRA sharing has it; the same programs as in the others.
        lists: programs of each seed.
        sweep: concurrencies of further runs; None: the usual ones where `quick_sweep` allows.
        quick_sweep: make a sweep that was not asked for if it is short.
        record: keep a timeline of the first seed of each policy.
    """

    files: Sequence[Path]
    trace: Trace
    workload: Workload
    settings: SimulatedSettings
    load: Load
    lists: Sequence[ProgramList]
    policies: Sequence[str]
    bounds: bool = True
    sweep: Sequence[int] | None = None
    quick_sweep: bool = False
    record: bool = False

    def comparison(self) -> Comparison:
        """Its runs."""
        plain = Comparison(
            policies=self.policies,
            lists=self.lists,
            concurrency=self.load.concurrency,
            bounds=self.bounds,
            record=self.record,
        )
        if self.sweep:
            return self._swept(plain, self.sweep, self.lists)
        if self.quick_sweep:
            swept = self._swept(plain, DEFAULT_SWEEP, self.lists[:1])
            if swept.turns(self.workload) <= QUICK_TURNS:
                return swept
        return plain

    def _swept(
        self, plain: Comparison, sweep: Sequence[int], lists: Sequence[ProgramList]
    ) -> Comparison:
        """With a sweep whose lists are long enough, where lists are drawn and not given."""
        if isinstance(self.load, Closed | Poisson):
            most = PROGRAMS_PER_ACTIVE * max(sweep)
            available = len(self.workload.plans)
            lists = [drawn_list(available, max(most, len(each)), each.seed) for each in lists]
        return replace(plain, sweep=sweep, sweep_lists=lists)

    def programs(self) -> int:
        """Programs of all runs together, children not counted."""
        return self.comparison().programs() * len(self.settings.lora_sharing)

    def turns(self) -> int:
        """Turns of all runs together."""
        return self.comparison().turns(self.workload) * len(self.settings.lora_sharing)

    def run(self, *, workers: int, on_progress: Report) -> Compared:
        """Run everything, one mode of LoRA sharing after the other; see `compare`.

        Rows have an entry `lora_sharing` where there are several.
        """
        comparison, modes = self.comparison(), self.settings.lora_sharing
        every = Compared([], [], [])
        for at, mode in enumerate(modes):
            before = at * comparison.programs()

            def ended(programs: int, before: int = before) -> None:
                on_progress(before + programs)

            simulation = self._simulation(mode)
            compared = compare(simulation, comparison, workers=workers, on_progress=ended)
            labels = {"lora_sharing": mode} if len(modes) > 1 else {}
            every.rows += [row | labels for row in compared.rows]
            every.outcomes += compared.outcomes
            every.sweep += compared.sweep
        return every

    def _simulation(self, sharing: LoraSharing) -> Simulation:
        settings, workload = self.settings, self.workload
        if sharing is not settings.lora_sharing[0]:
            workload = make_workload(
                self.trace,
                kv_tokens=settings.memory_in_every_mode,
                page=settings.page,
                pause_cap_s=settings.pause_cap_s,
                sharing=sharing,
            )
        return Simulation(workload.plans, settings.engine(sharing), len(workload.left_out))

    def document(self, compared: Compared) -> dict[str, Any]:
        """The result as `agentrt.replay.v1`."""
        return make_document(
            workload=described(self.trace, [str(path) for path in self.files], self.workload),
            engine=simulated_engine(self.settings.profile),
            settings={
                "policies": list(self.policies),
                "seeds": [programs.seed for programs in self.lists],
                "load": self.load.described(),
                "rate": self.load.rate,
                "concurrency": self.load.concurrency,
                "programs": len(self.lists[0]),
                **self.settings.as_dict(),
                "command": self.command(),
            },
            rows=compared.rows,
            sweep=compared.sweep,
        )

    def command(self) -> str:
        """That repeats it, for a shell."""
        words = ["agentrt", "replay", *map(str, self.files)]
        words += ["--policy", ",".join(self.policies), *self.settings.flags(), *self.load.flags()]
        words += ["--seed", ",".join(str(programs.seed) for programs in self.lists)]
        if not isinstance(self.load, Listed):
            words += ["--programs", str(len(self.lists[0]))]
        if self.sweep:
            words += ["--sweep", ",".join(map(str, self.sweep))]
        if not self.bounds:
            words.append("--no-bounds")
        return shlex.join(words)

    def closed(self, concurrency: int) -> SimulatedReplay:
        """The same with so many programs always active instead of arrivals."""
        return replace(self, load=Closed(concurrency), sweep=None)
