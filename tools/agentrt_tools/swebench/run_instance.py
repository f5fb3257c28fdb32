"""One instance, from its checkout to the verdict of its tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrt import Program, Runtime
from agentrt_tools.bench.first_token import FirstTokens, followed
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.bench.results import EntryResult, entry_result, file_name
from agentrt_tools.bench.verdict import Verdict, verdict_of
from agentrt_tools.swebench.child import RepositoryError
from agentrt_tools.swebench.evaluate import evaluate
from agentrt_tools.swebench.instance import Instance
from agentrt_tools.swebench.library import Library, Prepared, Task
from agentrt_tools.swebench.program import Transcript, instance_agent

_SUBMITTED = "Submitted"
_NO_PAUSES = Pauses()


@dataclass(frozen=True, slots=True)
class InstanceOptions:
    """How instances are run.

    Attributes:
        config: of mini-swe-agent.
        folder: for trajectories and logs.
        max_tokens: per model request.
        tool_timeout: seconds of a command.
        test_timeout: seconds of the tests that decide.
        step_limit: replies of the model; None is the configuration's.
        pauses: added to commands.
        streams: whether replies are streamed, which shows when their first token comes.
        begins: told of each program before its first request.
    """

    config: Mapping[str, Any]
    folder: Path
    max_tokens: int = 1_024
    tool_timeout: float = 60.0
    test_timeout: float = 1_800.0
    step_limit: int | None = None
    pauses: Pauses = _NO_PAUSES
    streams: bool = True
    begins: Callable[[str, Instance], None] = lambda program_id, instance: None


async def run_instance(
    runtime: Runtime, library: Library, task: Task, policy: str | None, options: InstanceOptions
) -> EntryResult:
    """Run an instance as a program, and have its patch tested. Whatever fails in it is its result.

    Args:
        policy: that the result is noted under.

    Raises:
        EngineError: the engine is lost or refuses the key: nothing else would fare better.
    """
    transcript, first = Transcript(), FirstTokens(time.monotonic)
    started: list[Program] = []
    folder = options.folder / file_name(policy or "any") / task.instance_id
    try:
        prepared = await library.prepare(task)
        error = await _worked_on(
            runtime, library, prepared, transcript, started, first, folder, options
        )
        if error is not None:
            raise error
        verdict = await _verdict(library, prepared, transcript, options.test_timeout, folder)
    except RepositoryError as error:
        verdict = Verdict(False, "environment:missing", str(error))
    except Exception as error:  # noqa: BLE001 - raised again if it ends the run
        verdict = verdict_of(error)
    return entry_result(
        task.instance_id,
        task.repo,
        policy,
        started,
        valid=verdict.valid,
        problem=verdict.problem,
        message=verdict.message,
        injected_s=transcript.injected_s,
        ttft_s=first.mean_s,
        calls=[[command] for command in transcript.commands],
        answers=[transcript.patch],
    )


async def _worked_on(
    runtime: Runtime,
    library: Library,
    prepared: Prepared,
    transcript: Transcript,
    started: list[Program],
    first: FirstTokens,
    folder: Path,
    options: InstanceOptions,
) -> Exception | None:
    """Let the agent work on it; what its program raised."""
    instance = prepared.instance
    async with library.place(prepared) as place:
        agent = instance_agent(
            instance,
            place,
            transcript,
            options.config,
            max_tokens=options.max_tokens,
            timeout=options.tool_timeout,
            step_limit=options.step_limit,
            pauses=options.pauses,
            trajectory=folder / f"{instance.instance_id}.traj.json",
        )
        async with runtime.start(agent) as running:
            started.append(running.program)
            options.begins(running.program.program_id, instance)
            return await followed(running, first if options.streams else None)


async def _verdict(
    library: Library, prepared: Prepared, transcript: Transcript, timeout: float, folder: Path
) -> Verdict:
    """What the tests say of what was handed in."""
    if transcript.exit_status != _SUBMITTED:
        why = f"mini-swe-agent ended with {transcript.exit_status}"
        return Verdict(False, f"agent:{transcript.exit_status}", why)
    async with library.place(prepared, network=True) as place:
        return await evaluate(place, prepared.instance, transcript.patch, timeout, folder)
