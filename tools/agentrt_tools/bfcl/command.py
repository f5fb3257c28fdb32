"""`agentrt bench bfcl`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import anyio

from agentrt import Runtime
from agentrt_tools.bench.job import Job
from agentrt_tools.bench.options import BenchOptions, notes_of, require_positive
from agentrt_tools.bench.packages import bfcl_data
from agentrt_tools.bench.pauses import Pauses
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


_DEFAULTS = BenchOptions()


def bfcl(
    *categories: Category,
    parallel: int = 8,
    max_tokens: int = 512,
    call_limit: int = CALL_LIMIT,
    tool_timeout: float = 60.0,
    options: BenchOptions = _DEFAULTS,
) -> int:
    """Run agents' entries of the Berkeley Function Calling Leaderboard.

    Every entry is one program; functions run in the package's own back ends, and its own checker
    decides. With several policies the same entries run under each, on an engine that is started
    for it. Results are kept as they come: the same command with the same --out goes on where it
    was interrupted. agentrt bench install bfcl installs what it takes.

    --model ground-truth replays the reference solutions, which have to pass;
    ground-truth-incomplete leaves out the calls of the last turn that has any, and has to fail.

    Examples:

        agentrt bench bfcl --limit 20
        agentrt bench bfcl multi_turn --policy lru,guard --kv-tokens 8192 --out runs/bfcl
        agentrt bench bfcl multi_turn --model ground-truth

    Parameters
    ----------
    categories
        What to run: multi_turn_base if nothing is said; multi_turn is all four, memory the two
        that run anywhere. memory_vector needs a model of a hub, web_search a search service.
        --limit counts in each.
    parallel
        Entries at once.
    max_tokens
        Generated tokens per model request.
    call_limit
        Calls that a request of the user may lead to; with one more the entry has failed.
    tool_timeout
        Seconds that a function may take; one that takes longer fails its entry.
    """
    require_positive(
        limit=options.limit,
        parallel=parallel,
        max_tokens=max_tokens,
        call_limit=call_limit,
        tool_timeout=tool_timeout,
    )
    policies = options.policies(REFERENCE_MODELS)
    pauses = Pauses(options.pauses, options.seed)
    data = bfcl_data()
    chosen = dict.fromkeys(
        name for each in categories or MULTI_TURN[:1] for name in GROUPS.get(each, (each,))
    )
    entries = [
        entry for name in chosen for entry in choose(load_category(data, name), options.limit)
    ]
    settings = {
        **options.settings(),
        "max_tokens": max_tokens,
        "call_limit": call_limit,
        "tool_timeout_s": tool_timeout,
    }
    folder = options.folder("bfcl")
    notes = notes_of("bfcl", pauses)
    how = EntryOptions(
        max_tokens=max_tokens,
        call_limit=call_limit,
        tool_timeout=tool_timeout,
        pauses=pauses,
        folder=folder / "memory",
    )
    reference = None
    if options.model in REFERENCE_MODELS:
        reference = ReferenceModel(complete=REFERENCE_MODELS[options.model])
        how = replace(how, streams=False, holds_back=False, begins=reference.begins)

    async def work(runtime: Runtime, entry: Entry, policy: str | None) -> EntryResult:
        return await run_entry(runtime, entry, policy, how)

    job = Job("bfcl", entries, settings, folder, parallel)
    return anyio.run(job.run, policies, options.open(reference, notes), work, options.json)
