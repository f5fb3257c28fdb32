"""`agentrt resume`: go on with a run that was interrupted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter

from agentrt.cli import console
from agentrt.cli.agent_file import load_agent
from agentrt.cli.options import JsonTarget
from agentrt.cli.run_job import RunJob, new_trace
from agentrt.cli.runs_view import as_json, programs_table
from agentrt.cli.telemetry_export import exported_telemetry
from agentrt.embedded import API_KEY_VARIABLE, URL_VARIABLE, EngineSettings
from agentrt.errors import JournalError
from agentrt.journal import Durability, Journal
from agentrt.journal.runs import RunState, find_run, read_run


def resume(
    run: str,
    *,
    url: Annotated[str | None, Parameter(env_var=URL_VARIABLE)] = None,
    api_key: Annotated[str | None, Parameter(env_var=API_KEY_VARIABLE)] = None,
    trace: Path | None = None,
    durability: Durability = Durability.PROCESS,
    accept_loss: Annotated[bool, Parameter(negative="")] = False,
    json: JsonTarget = None,
) -> int:
    """Go on with a run that was interrupted, by Ctrl-C, a crash or the loss of its engine.

    The agent's code runs again; replies and results that the run has are taken from its journal,
    and the model is not asked for them again. A tool that changes something, and that was
    interrupted, is not called again: the model is told that its outcome is unknown.

    Examples:

        agentrt resume last
        agentrt resume 20261128-101500250-fixer

    Parameters
    ----------
    run
        Name of a run, its beginning, or "last"; agentrt runs list shows them.
    url
        An OpenAI-compatible engine; by default as the run was begun.
    api_key
        Key that the engine asks for.
    trace
        Where to record all of the run as agentrt.trace.v1; by default a new file in traces/runs.
    durability
        What is kept outlives the end of the process, or a power failure as well.
    accept_loss
        Go on although the last events of the journal are gone. What they said is done again.
    """
    folder = find_run(run)
    summary = read_run(folder)
    if summary.state is RunState.FINISHED:
        to = console.results(json)
        to.print(programs_table(summary.programs))
        to.print(f"\nnothing to do: all programs of {summary.name} have finished")
        console.write_json(json, as_json(summary))
        return 0
    with Journal(folder, durability=durability, accept_loss=accept_loss) as journal:
        begins = journal.begins
        if not begins.target:
            raise JournalError(
                f"{folder.name} is the run of a Python program",
                hint="run that program again: it goes on where it was",
            )
        agent = load_agent(begins.target)
        noted = dict(begins.settings)
        noted_url = str(noted.pop("url")) if "url" in noted else None
        settings = EngineSettings() if url else _settings(folder.name, noted)
        job = RunJob(
            agent,
            [agent.unpack_input(each) for each in begins.inputs],
            trace or new_trace(agent.name, datetime.now()),
            journal,
        )
        with exported_telemetry():
            return anyio.run(job.run, url or noted_url, api_key, settings, json)


def _settings(name: str, noted: dict[str, Any]) -> EngineSettings:
    try:
        return msgspec.convert(noted, EngineSettings)
    except msgspec.ValidationError as error:
        raise JournalError(f"the engine of run {name} cannot be started again: {error}") from error
