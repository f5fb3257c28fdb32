"""`agentrt run`: one or many copies of an agent as programs."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
from cyclopts import Parameter

from agentrt.cli.agent_file import load_agent
from agentrt.cli.options import DeviceChoice, JsonTarget, PolicyName
from agentrt.cli.run_job import RunJob, new_trace
from agentrt.cli.telemetry_export import exported_telemetry
from agentrt.embedded import API_KEY_VARIABLE, URL_VARIABLE, EngineSettings
from agentrt.errors import SettingError
from agentrt.journal import Durability, Journal
from agentrt.journal.events import RunBegan
from agentrt.journal.journal import now
from agentrt.journal.runs import forget_old_runs, new_run
from agentrt_engine.sglang.options import DType


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
    graph: Path | None = None,
    journal: bool = True,
    durability: Durability = Durability.PROCESS,
    json: JsonTarget = None,
) -> int:
    """Run an agent; every copy is one program, and all run at once.

    The engine is the one at --url, else a running `agentrt serve`, else one that is started
    for this run and stopped with it. Giving --model, --device, --policy, --kv-tokens or
    --dtype always starts one. Exit code 0 when every program finished, 1 otherwise.

    What the programs do is kept, with prompts and replies: agentrt resume goes on with a run that
    was interrupted, without asking the model again for what it has answered.

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
    graph
        Where to write what waited for what, and the path that decided how long it took: FILE.html
        to look at, FILE.dot for graphviz, FILE.json for programs.
    journal
        Keep what the programs do, so that the run can be resumed.
    durability
        What that outlives: the end of the process, or a power failure as well, which is slower.
    """
    if copies < 1:
        raise SettingError(f"--copies is {copies}: expected at least 1")
    if graph is not None:
        # networkx takes a while to import.
        from agentrt.workflow.graph_file import check_graph_name

        check_graph_name(graph)
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
    began = datetime.now()
    trace = trace or new_trace(agent.name, began)
    chosen = list(islice(cycle(arguments), copies))
    with ExitStack() as resources:
        kept = None
        if journal:
            begins = RunBegan(
                created=now(),
                target=f"{Path(target.partition(':')[0]).resolve()}:{agent.name}",
                inputs=[agent.pack_input(each) for each in chosen],
                settings=_noted(url, settings),
            )
            forget_old_runs()
            folder = new_run(agent.name, began)
            kept = resources.enter_context(Journal(folder, durability=durability, begins=begins))
        job = RunJob(agent, chosen, trace, kept, graph)
        with exported_telemetry():
            return anyio.run(job.run, url or None, api_key, settings, json)


def _noted(url: str | None, settings: EngineSettings) -> dict[str, str | int]:
    """What a resumption has to know of the engine."""
    given = {"url": url or None, **msgspec.to_builtins(settings)}
    return {name: value for name, value in given.items() if value is not None}
