"""`agentrt plan`: how many programs an engine sustains, per policy and size of memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from agentrt.cli import console
from agentrt.cli.comparison_options import (
    PolicyList,
    TraceFormatOption,
    chosen_policies,
    read_traces,
)
from agentrt.cli.options import JsonTarget
from agentrt.cli.plan_view import print_plan
from agentrt.cli.run_progress import RunProgress
from agentrt.cli.simulated_options import EngineOptions, Workers, at_least_one, positive, processes
from agentrt.replay.adapters import count_adapters
from agentrt.replay.capacity import Search, find_capacity
from agentrt.replay.capacity_document import make_plan_document
from agentrt.replay.matrix import Simulation
from agentrt.replay.parallel import parallel
from agentrt.replay.quantity import seed_list, token_count
from agentrt.replay.replay_settings import SimulatedSettings
from agentrt.replay.trace_file import Trace
from agentrt.replay.workload import count_turns, make_workload

DEFAULT_PROGRAMS = 600
#: Rates that a search usually tries.
_USUAL_PROBES = 12


def plan(
    *traces: Path,
    kv_tokens: str | None = None,
    policy: PolicyList = None,
    factor: Annotated[float, Parameter(validator=positive)] = 2.0,
    tolerance: Annotated[float, Parameter(validator=positive)] = 0.05,
    target_rate: Annotated[float | None, Parameter(validator=positive)] = None,
    programs: Annotated[
        int, Parameter(name=["--programs", "-n"], validator=at_least_one)
    ] = DEFAULT_PROGRAMS,
    seed: Annotated[list[str] | None, Parameter(negative="")] = None,
    workers: Workers = None,
    format: TraceFormatOption = None,
    engine: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    json: JsonTarget = None,
) -> None:
    """Find how many programs per second an engine sustains, by simulation.

    For each policy and KV size: the largest stable rate, at which the backlog of no seed grows,
    and the largest at which the mean job completion time stays within --factor times that of
    programs alone. Programs arrive at random (Poisson); rates are found by bisection. The engine
    is simulated from a cost profile: no figure is a measurement.

    Examples:

        agentrt plan agents.jsonl.gz --kv-tokens 200k,400k
        agentrt plan agents.jsonl.gz --kv-tokens 400k --policy lru,guard --seed 1,2,3
        agentrt plan agents.jsonl.gz --kv-tokens 400k --factor 1.5 --target-rate 2

    Parameters
    ----------
    traces
        Traces of any known format (agentrt trace --help), read as one.
    kv_tokens
        KV memory of an engine in tokens, one or several sizes: 200k,400k,1.5M.
    factor
        How many times the mean time alone the mean job completion time may be.
    tolerance
        A rate is found to this part of itself.
    target_rate
        Programs per second of a whole fleet: also say how many such engines it takes.
    programs
        Programs per run, all shuffled and taken in order, again and again. A backlog that grows
        slowly does not show in a short run: more programs give surer and lower rates.
    seed
        Seeds of the lists of programs and arrivals, 1,2,3 or 1-20; by default 1. A rate is stable
        if it is so for all of them.
    """
    policies = chosen_policies(policy)
    sizes = (kv_tokens or "").split(",")
    engines = [
        engine.settings(token_count("--kv-tokens", size) if size else None) for size in sizes
    ]
    seeds = seed_list(seed) if seed else [1]
    trace = read_traces(traces, format, command="agentrt plan")
    engines = [replace(each, adapters=count_adapters(trace.programs)) for each in engines]
    searches = [
        Search(each, simulation, programs, tuple(seeds), factor, tolerance)
        for simulation in (_simulation(trace, settings) for settings in engines)
        for each in policies
    ]
    with RunProgress("Searching", None, "rates tried") as progress:
        turns = _USUAL_PROBES * sum(map(_turns, searches))
        capacities = parallel(
            find_capacity,
            None,
            searches,
            workers=processes(workers, turns),
            on_progress=progress.show,
        )
    document = make_plan_document(
        capacities,
        files=traces,
        settings=engines[0],
        search={
            "factor": factor,
            "tolerance": tolerance,
            "programs": programs,
            "seeds": seeds,
        },
        target_rate=target_rate,
    )
    console.write_json(json, document)
    print_plan(console.results(json), document, capacities)


def _simulation(trace: Trace, settings: SimulatedSettings) -> Simulation:
    workload = make_workload(
        trace, kv_tokens=settings.kv_tokens, page=settings.page, pause_cap_s=settings.pause_cap_s
    )
    return Simulation(workload.plans, settings.engine(), len(workload.left_out))


def _turns(search: Search) -> int:
    """Turns of one rate tried, about."""
    plans = search.simulation.plans
    mean = sum(map(count_turns, plans)) / len(plans)
    return round(mean * search.programs * len(search.seeds))
