"""`agentrt run`: one or many copies of an agent as programs."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import anyio
from cyclopts import Parameter
from rich.live import Live

from agentrt.agent import Agent
from agentrt.cli import console
from agentrt.cli.agent_file import load_agent
from agentrt.cli.interruption import cancelled_by_signals
from agentrt.cli.options import DeviceChoice, JsonTarget, PolicyName
from agentrt.cli.run_view import LiveView, as_json, one_line, summary_table
from agentrt.connect import connect
from agentrt.embedded import API_KEY_VARIABLE, URL_VARIABLE, EngineSettings, owned_engines
from agentrt.errors import AgentrtError, EngineLost, SettingError
from agentrt.program import Program, ProgramState
from agentrt.runtime import Runtime
from agentrt_engine.sglang.options import DType
from agentrt_engine.sglang.server import ending

RUNS_FOLDER = Path("traces/runs")

#: How long an engine that dropped its connections may take to end.
_END_S = 2.0

_log = logging.getLogger("agentrt")


def run(
    target: str,
    *,
    input: Annotated[list[str] | None, Parameter(negative="")] = None,
    copies: Annotated[int, Parameter(name=["--copies", "-n"])] = 1,
    url: Annotated[str | None, Parameter(env_var=URL_VARIABLE)] = None,
    api_key: Annotated[str | None, Parameter(env_var=API_KEY_VARIABLE)] = None,
    model: str | None = None,
    device: DeviceChoice = DeviceChoice.AUTO,
    policy: PolicyName | None = None,
    kv_tokens: int | None = None,
    dtype: DType = DType.AUTO,
    trace: Path | None = None,
    json: JsonTarget = None,
) -> int:
    """Run an agent; every copy is one program, and all run at once.

    The engine is the one at --url, else a running `agentrt serve`, else one that is started
    for this run and stopped with it. Giving --model, --device, --policy, --kv-tokens or
    --dtype always starts one. Exit code 0 when every program finished, 1 otherwise.

    Examples:

        agentrt run examples/repo_detective.py
        agentrt run examples/repo_detective.py -n 6 --policy lru
        agentrt run agents.py:reviewer --input '{"path": "README.md"}' --json -
        agentrt run agents.py:reviewer --input "first task" --input "second task" -n 4

    Parameters
    ----------
    target
        FILE.py, or FILE.py:AGENT where the file defines several.
    input
        Value of the agent's first parameter, or a JSON object with its parameters. Given
        several times, copies take them in turn.
    copies
        Programs to run at once.
    url
        An OpenAI-compatible engine.
    api_key
        Key that the engine asks for.
    model
        Name of a fetched model or path of a Hugging Face folder.
    device
        What the engine computes on.
    kv_tokens
        Capacity of the KV cache in tokens.
    dtype
        Precision; auto is the model's own.
    trace
        Where to record the run as agentrt.trace.v1; by default a new file in traces/runs.
    """
    if copies < 1:
        raise SettingError(f"--copies is {copies}: expected at least 1")
    agent = load_agent(target)
    inputs: list[str] | list[None] = input or [None]
    arguments = [agent.parse_input(text) for text in inputs]
    settings = EngineSettings(
        model=model,
        device=None if device is DeviceChoice.AUTO else device.resolve(),
        policy=policy,
        kv_tokens=kv_tokens,
        dtype=dtype,
    )
    if url and settings != EngineSettings():
        raise SettingError(
            f"--url {url} names an engine that runs already: --model, --device, --policy, "
            "--kv-tokens and --dtype are for starting one"
        )
    job = _Job(agent, list(islice(cycle(arguments), copies)), trace or _new_trace(agent.name))
    return anyio.run(job.run, url or None, api_key, settings, json)


def _new_trace(agent: str) -> Path:
    return RUNS_FOLDER / f"{datetime.now():%Y%m%d-%H%M%S}-{agent}.jsonl"


class _Job:
    """One `agentrt run`: its programs, and what is said about them."""

    def __init__(
        self, agent: Agent[..., Any], arguments: list[dict[str, Any]], trace: Path
    ) -> None:
        self._agent = agent
        self._arguments = arguments
        self._trace = trace
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
                    url, api_key=api_key, trace=self._trace, engine=settings, on_stage=stages.stage
                ) as runtime:
                    starting.close()
                    started = time.monotonic()
                    self._programs = runtime.programs
                    await self._run_programs(runtime)
        self._report(time.monotonic() - started, json)
        if interruption.signal is not None:
            console.print_error("interrupted")
            return interruption.exit_code
        return 0 if all(p.state is ProgramState.FINISHED for p in self._programs) else 1

    async def _run_programs(self, runtime: Runtime) -> None:
        with self._progress(runtime):
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
            "programs": [as_json(program) for program in self._programs],
        }
        console.write_json(json, document)
        self._print_errors()

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
