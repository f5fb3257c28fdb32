"""The programs of one `agentrt run`, and what is said about them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
from rich.live import Live

from agentrt.agent import Agent
from agentrt.cli import console
from agentrt.cli.interruption import cancelled_by_signals
from agentrt.cli.options import JsonTarget
from agentrt.cli.run_view import LiveView, as_json, one_line, summary_table
from agentrt.connect import connect
from agentrt.embedded import EngineSettings, owned_engines
from agentrt.errors import AgentrtError, EngineLost
from agentrt.journal import Journal
from agentrt.journal.runs import run_name
from agentrt.program import Program, ProgramState
from agentrt.runtime import Runtime
from agentrt_engine.sglang.server import ending

RUNS_FOLDER = Path("traces/runs")

#: How long an engine that dropped its connections may take to end.
_END_S = 2.0

_log = logging.getLogger("agentrt")


def new_trace(agent: str, at: datetime) -> Path:
    """Where a run that begins or goes on is recorded if nothing else is said."""
    return RUNS_FOLDER / f"{run_name(agent, at)}.jsonl"


class RunJob:
    """One `agentrt run` or `resume`: its programs, and what is said about them.

    Args:
        arguments: of every program.
        trace: file for the trace.
        journal: of the run; None to keep none.
        graph: file for the graph of the run; None for none.
    """

    def __init__(
        self,
        agent: Agent[..., Any],
        arguments: Sequence[dict[str, Any]],
        trace: Path,
        journal: Journal | None,
        graph: Path | None = None,
    ) -> None:
        self._agent = agent
        self._arguments = arguments
        self._trace = trace
        self._journal = journal
        self._graph = graph
        self._programs: list[Program] = []
        self._errors: list[Exception] = []

    async def run(
        self, url: str | None, api_key: str | None, settings: EngineSettings, json: JsonTarget
    ) -> int:
        """Run the programs and print what came of them; returns the exit code."""
        started = time.monotonic()
        async with cancelled_by_signals() as interruption:
            with ExitStack() as starting:
                stages = starting.enter_context(console.Stages())
                async with connect(
                    url,
                    api_key=api_key,
                    trace=self._trace,
                    journal=self._journal,
                    engine=settings,
                    on_stage=stages.stage,
                ) as runtime:
                    starting.close()
                    started = time.monotonic()
                    self._programs = runtime.programs
                    await self._run_programs(runtime)
        self._report(time.monotonic() - started, json)
        finished = all(p.state is ProgramState.FINISHED for p in self._programs)
        if self._journal is not None and not (finished and self._programs):
            name = self._journal.folder.name
            console.progress.print(f"to go on: agentrt resume {name}", soft_wrap=True)
        if interruption.signal is not None:
            console.print_error("interrupted")
            return interruption.exit_code
        return 0 if finished else 1

    async def _run_programs(self, runtime: Runtime) -> None:
        with self._progress(runtime), runtime.workflow(self._agent.name):
            async with anyio.create_task_group() as tasks:
                for arguments in self._arguments:
                    tasks.start_soon(self._run_program, runtime, arguments)

    async def _run_program(self, runtime: Runtime, arguments: dict[str, Any]) -> None:
        try:
            result = await runtime.run(self._agent, **arguments)
        except Exception as error:  # noqa: BLE001 - one program's end is not the others'
            self._errors.append(error)
        else:
            if not console.progress.is_terminal:
                turns = len(result.program.turns)
                console.progress.print(
                    f"{result.program.label} finished after {turns} turn{'s' * (turns != 1)}",
                    soft_wrap=True,
                )

    def _progress(self, runtime: Runtime) -> AbstractContextManager[object]:
        if not console.progress.is_terminal or console.progress.quiet:
            return nullcontext()
        view = LiveView(runtime.programs, len(self._arguments), time.monotonic)
        return Live(view, console=console.progress, transient=True, refresh_per_second=8)

    def _report(self, seconds: float, json: JsonTarget) -> None:
        if not self._programs:
            return
        to = console.results(json)
        for program in self._programs:
            to.print(one_line(program), overflow="ellipsis", no_wrap=len(self._programs) > 1)
        to.print()
        to.print(summary_table(self._programs), width=min(to.width, console.MAX_WIDTH))
        to.print(f"\n{seconds:.1f} s in all; trace: {self._trace}", markup=False, soft_wrap=True)
        document = {
            "agent": self._agent.name,
            "seconds": seconds,
            "trace": str(self._trace),
            "run": self._journal.folder.name if self._journal else None,
            "programs": [as_json(program) for program in self._programs],
        }
        console.write_json(json, document)
        self._print_errors()
        if self._graph is not None:
            # networkx takes a while to import.
            from agentrt.workflow import workflow_graph, write_graph

            write_graph(self._graph, workflow_graph(self._programs))
            console.progress.print(f"graph: {self._graph}", soft_wrap=True)

    def _print_errors(self) -> None:
        """Each error of the runtime once, an error in the agent's own code with its traceback."""
        told: set[str] = set()
        for error in self._errors:
            if not isinstance(error, AgentrtError):
                _log.error("%s failed", self._agent.name, exc_info=error)
            elif str(error) not in told:
                told.add(str(error))
                console.print_error(str(error), hint=error.hint)
        lost = any(isinstance(error, EngineLost) for error in self._errors)
        for engine in owned_engines():
            # The connection breaks a moment before the process has ended.
            if (code := engine.wait(_END_S if lost else 0)) is not None:
                console.print_error(
                    f"the engine ended ({ending(code)}):\n{engine.last_words()}",
                    hint=f"its whole log: {engine.log_path}",
                )
