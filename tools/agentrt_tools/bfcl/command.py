"""`agentrt bench bfcl`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import anyio
from cyclopts import Parameter

from agentrt import EngineSettings, Runtime
from agentrt.cli.options import DeviceChoice, JsonTarget
from agentrt.cli.run_job import RUNS_FOLDER
from agentrt.embedded import API_KEY_VARIABLE, URL_VARIABLE
from agentrt.errors import SettingError
from agentrt.journal.runs import run_name
from agentrt.replay.policy_list import split_policies
from agentrt_engine.policy import live_policy_names, make_live_policy
from agentrt_engine.sglang.options import DType
from agentrt_tools.bench.engines import EngineChoice
from agentrt_tools.bench.job import Job, Open
from agentrt_tools.bench.packages import bfcl_data
from agentrt_tools.bench.pauses import MEASURED, Pauses
from agentrt_tools.bench.results import EntryResult
from agentrt_tools.bfcl.categories import GROUPS, load_category
from agentrt_tools.bfcl.entries import MULTI_TURN, Entry, choose
from agentrt_tools.bfcl.program import CALL_LIMIT
from agentrt_tools.bfcl.reference import ReferenceModel
from agentrt_tools.bfcl.run_entry import EntryOptions, run_entry

#: Models that replay the reference solutions: whole, or without what the last turn takes.
REFERENCE_MODELS = {"ground-truth": True, "ground-truth-incomplete": False}

Category = Literal[
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
    "multi_turn",
    "memory_kv",
    "memory_rec_sum",
    "memory",
    "memory_vector",
    "web_search_base",
    "web_search_no_snippet",
]


def bfcl(
    *categories: Category,
    url: Annotated[str | None, Parameter(env_var=URL_VARIABLE)] = None,
    api_key: Annotated[str | None, Parameter(env_var=API_KEY_VARIABLE)] = None,
    model: str | None = None,
    policy: Annotated[list[str] | None, Parameter(negative="")] = None,
    device: DeviceChoice = DeviceChoice.AUTO,
    kv_tokens: int | None = None,
    dtype: DType = DType.AUTO,
    limit: int | None = None,
    parallel: int = 8,
    max_tokens: int = 512,
    call_limit: int = CALL_LIMIT,
    tool_timeout: float = 60.0,
    pauses: str = MEASURED,
    seed: int = 1,
    out: Path | None = None,
    json: JsonTarget = None,
) -> int:
    """Run agents' entries of the Berkeley Function Calling Leaderboard.

    Every entry is one program; functions run in the package's own back ends, and its own checker
    decides. With several policies the same entries run under each, on an engine that is started
    for it. Results are kept as they come: the same command with the same --out goes on where it
    was interrupted. agentrt bench install bfcl installs what it takes.

    Examples:

        agentrt bench bfcl --limit 20
        agentrt bench bfcl multi_turn --policy lru,guard --kv-tokens 8192 --out runs/bfcl
        agentrt bench bfcl multi_turn --model ground-truth

    Parameters
    ----------
    categories
        What to run: multi_turn_base if nothing is said; multi_turn is all four, memory the two
        that run anywhere. memory_vector needs a model of a hub, web_search a search service.
    url
        An OpenAI-compatible engine.
    api_key
        Key that the engine asks for.
    model
        Name of a fetched model or path of a Hugging Face folder. ground-truth replays the
        reference solutions, which have to pass; ground-truth-incomplete leaves out the calls of the
        last turn that has any, and has to fail.
    policy
        Policies to compare, separated by commas; each gets an engine of its own, one after another.
    device
        What the engine computes on.
    kv_tokens
        Capacity of its KV cache in tokens.
    dtype
        Its precision; auto is the model's own.
    limit
        Entries per category, taken evenly from all.
    parallel
        Entries at once.
    max_tokens
        Generated tokens per model request.
    call_limit
        Calls that a request of the user may lead to; with one more the entry has failed.
    tool_timeout
        Seconds that a function may take; one that takes longer fails its entry.
    pauses
        Added to functions, which answer at once: measured adds nothing; trace:FILE draws from the
        tool times of a trace; dist:NAME:NUMBERS from fixed:S, uniform:LOW,HIGH, exp:MEAN,
        lognormal:MEDIAN,SIGMA or pareto:ALPHA,LOW,HIGH (seconds).
    seed
        Of the pauses: each call's is the same under every policy.
    out
        Folder for results.jsonl and the traces; by default one below traces/runs.
    """
    for name, number in (
        ("limit", limit),
        ("parallel", parallel),
        ("max-tokens", max_tokens),
        ("call-limit", call_limit),
    ):
        if number is not None and number < 1:
            raise SettingError(f"--{name} is {number}: expected at least 1")
    if not tool_timeout > 0:
        raise SettingError(f"--tool-timeout is {tool_timeout:g}: expected more than 0")
    policies = split_policies(policy or (), live_policy_names())
    for each in policies:
        make_live_policy(each)
    if policies and (url is not None or model in REFERENCE_MODELS):
        raise SettingError(
            "--policy is of an engine that this command starts",
            hint="leave out --policy, or --url and --model ground-truth",
        )
    added = Pauses(pauses, seed)
    data = bfcl_data()
    chosen = dict.fromkeys(
        name for each in categories or MULTI_TURN[:1] for name in GROUPS.get(each, (each,))
    )
    entries = [entry for name in chosen for entry in choose(load_category(data, name), limit)]
    settings = {
        "model": model,
        "url": url,
        "kv_tokens": kv_tokens,
        "dtype": dtype.value,
        "max_tokens": max_tokens,
        "call_limit": call_limit,
        "tool_timeout_s": tool_timeout,
        "pauses": added.spec,
        "seed": seed,
    }
    folder = out or RUNS_FOLDER / run_name("bfcl", datetime.now())
    notes = {"benchmark": "bfcl", "pauses": added.spec, "pauses_injected": added.injected}
    options = EntryOptions(
        max_tokens=max_tokens,
        call_limit=call_limit,
        tool_timeout=tool_timeout,
        pauses=added,
        folder=folder / "memory",
    )
    open_runtime: Open
    if model in REFERENCE_MODELS:
        reference = ReferenceModel(complete=REFERENCE_MODELS[model])
        options = replace(options, streams=False, holds_back=False, begins=reference.begins)

        def open_runtime(_policy: str | None, trace: Path) -> AbstractAsyncContextManager[Runtime]:
            return reference.connect(trace=trace, trace_notes=notes)
    else:
        chosen_device = None if device is DeviceChoice.AUTO else device.resolve()
        engine = EngineSettings(model=model, device=chosen_device, kv_tokens=kv_tokens, dtype=dtype)
        open_runtime = EngineChoice(url, api_key, engine, notes).open

    async def work(runtime: Runtime, entry: Entry, policy: str | None) -> EntryResult:
        return await run_entry(runtime, entry, policy, options)

    job = Job("bfcl", entries, settings, folder, parallel)
    under: list[str | None] = [*policies] or [None]
    return anyio.run(job.run, under, open_runtime, work, json)
