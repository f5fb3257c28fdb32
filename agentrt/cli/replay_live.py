"""`agentrt replay --engine`: the programs of traces on engines that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import anyio

from agentrt.cli import console
from agentrt.cli.interruption import cancelled_by_signals
from agentrt.cli.live_options import LiveOptions
from agentrt.cli.live_view import print_live_replay
from agentrt.cli.load_options import LoadOptions
from agentrt.cli.replay_output import OutputOptions
from agentrt.cli.run_progress import RunProgress
from agentrt.cli.simulated_options import EngineOptions
from agentrt.errors import ReplayError
from agentrt.replay.live.address import EngineAddress
from agentrt.replay.live.engine import LiveEngine, open_engine
from agentrt.replay.live.facts import told_apart
from agentrt.replay.live.live_replay import LiveReplay, LiveResult
from agentrt.replay.live.outputs import write_outputs
from agentrt.replay.live.scaling import scaled_plans, within
from agentrt.replay.live.settings import LiveSettings
from agentrt.replay.trace_file import Trace
from agentrt_engine.simulated.workload import plan_workload


def require_no_live_option(live: LiveOptions) -> None:
    """A simulated replay has none of them.

    Raises:
        ReplayError: one was given.
    """
    if given := live.given():
        raise ReplayError(
            f"{given[0]} is for live engines: expected --engine URL with it",
            hint="e.g. --engine http://127.0.0.1:30000",
        )


def require_no_simulated_option(engine: EngineOptions, others: Mapping[str, object]) -> None:
    """A live replay has none of them; a cap on pauses makes sense for both.

    Args:
        others: further options and their values, None where not given.

    Raises:
        ReplayError: one was given.
    """
    options = {"--" + f.name.replace("_", "-"): getattr(engine, f.name) for f in fields(engine)}
    del options["--pause-cap"]
    for option, value in (options | dict(others)).items():
        if value is not None:
            raise ReplayError(
                f"{option} describes a simulated engine, and --engine names one that runs",
                hint=f"leave {option} out, or --engine",
            )


@dataclass(frozen=True, slots=True)
class LiveCommand:
    """One `agentrt replay --engine`."""

    files: Sequence[Path]
    trace: Trace
    load: LoadOptions
    engine: EngineOptions
    live: LiveOptions
    output: OutputOptions
    sweep: Sequence[int]

    def run(self) -> int:
        """Measure, print and write; returns the exit code.

        Raises:
            AgentrtError: an engine cannot be used, or the programs cannot be replayed.
        """
        return anyio.run(self._run)

    async def _run(self) -> int:
        cell = self.load.chosen_cell(self.files, None)
        cap_s = self.engine.pause_cap
        if cell is not None and cap_s is None:
            cap_s = cell.settings.pause_cap_s
        settings = self.live.settings(cap_s)
        addresses = self.live.addresses()
        result: LiveResult | None = None
        async with cancelled_by_signals() as interruption, AsyncExitStack() as stack:
            with console.progress.status("Connecting"):
                engines = await _opened(stack, addresses, settings)
            replay = self._replay(engines, settings)
            with RunProgress("Replaying", replay.programs(), "programs") as progress:
                result = await replay.run(engines, on_progress=progress.show)
        if interruption.signal is not None or result is None:
            console.print_error("interrupted")
            return interruption.exit_code
        self._report(result)
        return 1 if result.failures() and not self.live.keep_going else 0

    def _replay(self, engines: Sequence[LiveEngine], settings: LiveSettings) -> LiveReplay:
        facts = [engine.facts for engine in engines]
        sizes = [known for each in facts if (known := each.largest_turn) is not None]
        plans = scaled_plans(
            plan_workload(self.trace.programs, page=1, pause_cap_s=settings.pause_cap_s),
            time=settings.time_scale,
            tokens=settings.token_scale,
        )
        workload = within(plans, settings.max_context or min(sizes, default=None))
        load = self.load.load(self.load.chosen_cell(self.files, None))
        return LiveReplay(
            files=self.files,
            trace=self.trace,
            workload=workload,
            settings=settings,
            load=load,
            lists=load.lists(workload, seeds=self.load.seeds, programs=self.load.programs),
            engines=facts,
            sweep=self.sweep,
            record=self.output.needs_timeline,
            outputs=self.live.save_outputs is not None,
        )

    def _report(self, result: LiveResult) -> None:
        compared = result.compared()
        if self.live.save_outputs is not None:
            write_outputs(self.live.save_outputs, result.outputs())
        self.output.write(result.document(compared), compared)
        to = console.results(self.output.json)
        print_live_replay(to, result, compared, wide=self.output.wide)


async def _opened(
    stack: AsyncExitStack, addresses: Sequence[EngineAddress], settings: LiveSettings
) -> list[LiveEngine]:
    """All engines, with names that tell them apart."""
    engines = [
        await stack.enter_async_context(
            open_engine(
                address,
                model=settings.model,
                timeout_s=settings.timeout_s,
                vocabulary=settings.vocabulary,
            )
        )
        for address in addresses
    ]
    for engine, facts in zip(engines, told_apart([e.facts for e in engines]), strict=True):
        engine.facts = facts
    return engines
