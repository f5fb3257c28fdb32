"""`agentrt bench swebench`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
from cyclopts import Parameter
from rich.table import Table

from agentrt import Runtime
from agentrt.cli import console
from agentrt.errors import SettingError
from agentrt_tools.bench.job import Job
from agentrt_tools.bench.options import BenchOptions, notes_of, require_positive
from agentrt_tools.bench.packages import require
from agentrt_tools.bench.pauses import Pauses
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.swebench.data_set import OWN, choose, load_tasks
from agentrt_tools.swebench.grader import log_parsers
from agentrt_tools.swebench.instance import Instance
from agentrt_tools.swebench.library import EnvironmentKind, Library, Task, cannot_be_run
from agentrt_tools.swebench.mini import DEFAULT_CONFIG, load_config
from agentrt_tools.swebench.predictions import write_predictions
from agentrt_tools.swebench.recipe import Recipe
from agentrt_tools.swebench.reference import ReferenceModel
from agentrt_tools.swebench.run_instance import InstanceOptions, run_instance

#: Models that know the solutions: they hand them in, or nothing.
REFERENCE_MODELS = {"gold": True, "empty": False}

_DEFAULTS = BenchOptions()


def swebench(
    *instances: str,
    data: str = OWN,
    split: str = "test",
    environment: EnvironmentKind = EnvironmentKind.AUTO,
    config: str = DEFAULT_CONFIG,
    parallel: int = 4,
    max_tokens: int = 1_024,
    step_limit: int | None = None,
    tool_timeout: float = 60.0,
    test_timeout: float = 1_800.0,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
    options: BenchOptions = _DEFAULTS,
) -> int:
    """Run agents on SWE-bench: issues of real repositories, decided by their tests.

    Every instance is one program: mini-swe-agent's loop, in which each reply is a turn and each
    command a tool call. The patch that it hands in is tested in a fresh checkout and graded by
    swebench. With several policies the same instances run under each. Results are kept as they
    come: the same command with the same --out goes on where it was interrupted. agentrt bench
    install swebench installs what it takes.

    --model gold hands in the solutions, which have to pass; empty hands in nothing and has to fail.

    Examples:

        agentrt bench swebench --list
        agentrt bench swebench --model gold --limit 3
        agentrt bench swebench --data verified --environment docker --policy lru,guard --limit 50

    Parameters
    ----------
    instances
        Names of instances; all if nothing is said.
    data
        Where they come from: own are those that agentrt brings, made from releases of small
        projects; a .jsonl, .json or .parquet file; or a data set of the Hugging Face hub, of which
        lite and verified are short names.
    split
        Of a data set of the hub.
    environment
        Where commands and tests run: docker or podman, in the image of each instance; local, in a
        checkout in the sandbox; auto, local where an instance says how, else docker.
    config
        Configuration of mini-swe-agent, by name or as a YAML file: prompts, limits, and the form of
        commands.
    parallel
        Instances at once.
    max_tokens
        Generated tokens per model request.
    step_limit
        Replies of the model per instance; by default the configuration's.
    tool_timeout
        Seconds that a command may take.
    test_timeout
        Seconds that the tests of an instance may take.
    list_
        Print the instances and run none.
    """
    require_positive(
        limit=options.limit,
        parallel=parallel,
        max_tokens=max_tokens,
        step_limit=step_limit,
        tool_timeout=tool_timeout,
        test_timeout=test_timeout,
    )
    tasks = choose(load_tasks(data, split), instances, options.limit)
    if list_:
        _print(tasks, options.json)
        return 0
    policies = options.policies(REFERENCE_MODELS)
    pauses = Pauses(options.pauses, options.seed)
    require("swebench")
    parsers = log_parsers()
    for task in tasks:
        why = cannot_be_run(task, environment)
        if isinstance(task, Instance) and task.log_parser not in parsers:
            why = f"has the log_parser {task.log_parser!r}, which swebench has not"
        if why:
            where = f"--environment {environment}"
            raise SettingError(f"cannot run {task.instance_id} with {where}: it {why}")
    chosen = load_config(config)
    settings = {
        **options.settings(),
        "data": data,
        "data_sha256": _digest(Path(data).read_bytes()) if Path(data).is_file() else None,
        "split": split,
        "environment": environment.value,
        "config": config,
        "config_sha256": _digest(msgspec.json.encode(chosen)),
        "max_tokens": max_tokens,
        "step_limit": step_limit,
        "tool_timeout_s": tool_timeout,
        "test_timeout_s": test_timeout,
    }
    folder = options.folder("swebench")
    notes = notes_of("swebench", pauses)
    how = InstanceOptions(
        config=chosen,
        folder=folder / "instances",
        max_tokens=max_tokens,
        tool_timeout=tool_timeout,
        test_timeout=test_timeout,
        step_limit=step_limit,
        pauses=pauses,
    )
    reference = None
    if options.model in REFERENCE_MODELS:
        reference = ReferenceModel(gold=REFERENCE_MODELS[options.model])
        how = replace(how, streams=False, begins=reference.begins)

    def keep(results: list[EntryResult]) -> None:
        write_predictions(results, options.model or "default", folder)

    async def main() -> int:
        async with Library(environment) as library:

            async def work(runtime: Runtime, task: Task, policy: str | None) -> EntryResult:
                return await run_instance(runtime, library, task, policy, how)

            job = Job("swebench", tasks, settings, folder, parallel)
            return await job.run(policies, options.open(reference, notes), work, options.json, keep)

    return anyio.run(main)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _print(tasks: list[Task], json: str | None) -> None:
    view = Table(box=None, pad_edge=False)
    for heading in ("instance", "repository", "from"):
        view.add_column(heading)
    for heading in ("fails", "passes"):
        view.add_column(heading, justify="right")
    rows = [
        {
            "instance_id": task.instance_id,
            "repo": task.repo,
            "source": _source(task),
            "fail_to_pass": len(task.fail_to_pass),
            "pass_to_pass": len(task.pass_to_pass),
        }
        for task in tasks
    ]
    for row in rows:
        view.add_row(*map(str, row.values()))
    to = console.results(json)
    to.print(view, width=min(to.width, console.MAX_WIDTH))
    console.write_json(json, {"instances": rows})


def _source(task: Task) -> str:
    if isinstance(task, Recipe):
        old, new = task.old, task.new
        return f"{old.sdist} {old.version} → {new.version}" if old.sdist else "files"
    return task.local.git if task.local is not None else task.image or "its image"
