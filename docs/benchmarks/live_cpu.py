"""Policies on live engines: mean JCT and prefill of small agents, run by run in turns.

    .venv/bin/python docs/benchmarks/live_cpu.py --json live_cpu.json

Engines with the same model, attention backend and arguments: stock SGLang (fcfs and lru), SGLang's
lpm, ours with `guard` and with the best static cap, and both stock and `guard` with KV memory for
everything. All are up at once; only one gets requests at a time, and an idle engine sleeps. Every
engine gets the programs of every seed, one engine after the other, another one first each time.
With plentiful KV, where a few per cent count, every pair of runs has new processes, since one
process may be that much faster than another by chance.
Nothing else should compute on the machine meanwhile. Takes two hours; `--part` runs a piece.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from typing import Any

import anyio
import msgspec
from agent_workload import KV_TOKENS, MAX_RUNNING, closed, draw
from cyclopts import run
from engines import engine
from remaining_work import machine
from rich.console import Console
from rich.table import Table

from agentrt.calibrate.fit import fit_costs, quality
from agentrt.calibrate.probe import connected
from agentrt.calibrate.profile_file import make_profile
from agentrt.calibrate.session import Session
from agentrt.calibrate.sizes import USUAL
from agentrt.calibrate.work import Measurement
from agentrt.replay.live import (
    EngineAddress,
    LiveEngine,
    LiveRun,
    RunSettings,
    mean_jct_s,
    open_engine,
    paired_ratio,
    prefilled_tokens,
    replay_live,
)
from agentrt.replay.matrix import Run, Simulation, run_one
from agentrt_engine.outcome import ProgramOutcome
from agentrt_engine.simulated.profile import CostProfile
from agentrt_engine.simulated.settings import EngineSettings

#: KV memory in which nothing is ever evicted.
PLENTY = 32_768

#: SGLang's own for this engine.
CHUNK_TOKENS = 4_096

#: Of SmolLM2-135M in bf16.
KV_BYTES_PER_TOKEN = 23_040

CAPS = (2, 3, 4, 5, 6)

#: Seed on which the cap is chosen; the runs that count have others.
CAP_SEEDS = (101,)

CONCURRENCIES = (2, 4, 8, 16, 32)

#: Programs that start when another one ends.
REPLACEMENTS = 8

console = Console(width=100)


class Part(StrEnum):
    """A piece of the benchmark."""

    #: JCT and prefill under every engine, and with plentiful KV.
    JCT = "jct"
    #: Pairs of new processes with plentiful KV, where the difference is smaller than their luck.
    PLENTIFUL = "plentiful"
    #: Throughput and hit rate against the number of active programs.
    CLIFF = "cliff"
    #: The simulator with the profile that was measured on these engines.
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Column:
    """An engine; `policy` None is stock SGLang."""

    name: str
    policy: str | None
    kv_tokens: int = KV_TOKENS
    options: tuple[str, ...] = ()


STOCK = Column("stock", None)
LPM = Column("lpm", None, options=("--schedule-policy", "lpm"))
GUARD = Column("guard", "guard")
BOUND = Column("stock, plentiful KV", None, PLENTY)
FREE_GUARD = Column("guard, plentiful KV", "guard", PLENTY)

#: Pairs of processes with plentiful KV; each runs one of the seeds.
PROCESS_PAIRS = 10

#: Policies of the simulator and the engines that run the same.
SIMULATED = {"lru": STOCK.name, "guard": GUARD.name, "lpm": LPM.name}


@dataclass(slots=True)
class Results:
    """Everything measured so far."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    plentiful: list[dict[str, Any]] = field(default_factory=list)
    cliff: list[dict[str, Any]] = field(default_factory=list)
    profile: dict[str, Any] = field(default_factory=dict)
    beside: list[dict[str, Any]] = field(default_factory=list)
    simulated: list[dict[str, Any]] = field(default_factory=list)
    cap: int | None = None


def entry(column: str, seed: int, repeat: int, found: LiveRun) -> dict[str, Any]:
    """One run in the document."""
    outcome = found.outcome
    programs = outcome.programs
    jcts = sorted(program.jct_s for program in programs if program.jct_s is not None)
    return {
        "engine": column,
        "seed": seed,
        "repeat": repeat,
        "jct_mean_s": mean_jct_s(found),
        "jct_p95_s": jcts[round(0.95 * (len(jcts) - 1))] if jcts else None,
        "ttft_mean_s": fmean(ttft for program in programs for ttft in program.ttft_s),
        "prefilled_tokens": prefilled_tokens(found),
        "hit_rate": hit_rate(programs),
        "makespan_s": outcome.makespan_s,
        "failed": len(found.failures),
        "largest_lag_ms": 1000 * found.largest_lag_s,
    }


def hit_rate(programs: Sequence[ProgramOutcome]) -> float:
    """Share of the tokens that could be found in the cache that were."""
    return sum(p.hit_tokens for p in programs) / sum(p.reusable_tokens for p in programs)


async def in_turns(
    engines: dict[str, LiveEngine],
    seeds: Sequence[int],
    repeats: Sequence[int],
    results: list[dict[str, Any]],
) -> None:
    """All engines on all seeds, one after the other, another one first each time."""
    names = list(engines)
    number = 0
    for repeat in repeats:
        for seed in seeds:
            plans, programs = draw(seed)
            for place in range(len(names)):
                name = names[(number + place) % len(names)]
                await engines[name].flush()
                found = await replay_live(
                    plans, engines[name], programs, RunSettings(repeat=repeat, outputs=False)
                )
                results.append(entry(name, seed, repeat, found))
                say(results[-1])
            number += 1


async def best_cap(measured: list[dict[str, Any]]) -> int:
    """The static cap with the least mean JCT, on seeds of its own."""
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            columns = [Column(f"cap {cap}", f"static-cap:programs={cap}") for cap in CAPS]
            engines = await opened(columns, processes, clients)
            await in_turns(engines, CAP_SEEDS, [1], measured)
    return min(
        CAPS,
        key=lambda cap: fmean(r["jct_mean_s"] for r in measured if r["engine"] == f"cap {cap}"),
    )


async def opened(
    columns: Sequence[Column], processes: ExitStack, clients: AsyncExitStack
) -> dict[str, LiveEngine]:
    """Start engines and connect to them."""
    engines = {}
    for column in columns:
        console.print(f"starting {column.name}", style="dim")
        started = processes.enter_context(
            engine(
                column.policy,
                kv_tokens=column.kv_tokens,
                max_running=MAX_RUNNING,
                options=column.options,
            )
        )
        address = EngineAddress(started.url, name=column.name)
        engines[column.name] = await clients.enter_async_context(open_engine(address))
        await engines[column.name].warm_up()
    return engines


async def measure_jct(seeds: Sequence[int], repeats: int, results: Results) -> None:
    """JCT and prefill."""
    tried: list[dict[str, Any]] = []
    results.cap = await best_cap(tried)
    cap = Column("best static cap", f"static-cap:programs={results.cap}")
    columns = [STOCK, GUARD, BOUND, FREE_GUARD, LPM, cap]
    await on_new_processes(columns, seeds, range(1, repeats + 1), results.runs)


async def measure_plentiful(seeds: Sequence[int], results: Results) -> None:
    """Stock and guard with plentiful KV, each time as two new processes, another one first."""
    for repeat in range(1, PROCESS_PAIRS + 1):
        columns = [BOUND, FREE_GUARD][:: 1 if repeat % 2 else -1]
        seed = seeds[repeat % len(seeds)]
        await on_new_processes(columns, [seed], [repeat], results.plentiful)


async def on_new_processes(
    columns: Sequence[Column],
    seeds: Sequence[int],
    repeats: Sequence[int],
    results: list[dict[str, Any]],
) -> None:
    """All seeds on engines that start and end with that."""
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            await in_turns(await opened(columns, processes, clients), seeds, repeats, results)


async def measure_cliff(results: Results) -> None:
    """Throughput and hit rate with more and more programs active."""
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            engines = await opened([STOCK, GUARD], processes, clients)
            for number, active in enumerate(CONCURRENCIES):
                plans, programs = closed(7, active + REPLACEMENTS)
                order = list(engines)[:: 1 if number % 2 else -1]
                for name in order:
                    await engines[name].flush()
                    settings = RunSettings(concurrency=active, outputs=False)
                    found = await replay_live(plans, engines[name], programs, settings)
                    row = entry(name, programs.seed, 1, found) | {"active": active}
                    row["throughput_per_1000_s"] = 1000 * len(plans) / row["makespan_s"]
                    results.cliff.append(row)
                    say(row)


async def measure_simulated(seeds: Sequence[int], results: Results) -> None:
    """Live runs with measurements of the engine between them, and the same runs simulated.

    The speed of a machine drifts by more than the simulator is off, so both are of one time.
    """
    measured: list[Measurement] = []
    with ExitStack() as processes:
        async with AsyncExitStack() as clients:
            engines = await opened([STOCK, GUARD, LPM], processes, clients)
            idle = processes.enter_context(engine(None, kv_tokens=PLENTY, max_running=MAX_RUNNING))
            measured += await measure_costs(idle.url)
            for repeat in (1, 2):
                half = seeds[len(seeds) // 2 :] if repeat == 2 else seeds[: len(seeds) // 2]
                await in_turns(engines, half, [repeat], results.beside)
                measured += await measure_costs(idle.url)
    profile = fitted_profile(measured, results)
    settings = EngineSettings(
        costs=profile.costs(),
        kv_tokens=KV_TOKENS,
        chunk_tokens=CHUNK_TOKENS,
        max_running=MAX_RUNNING,
        page=1,
        mixed_steps=profile.mixed_steps,
    )
    for policy in SIMULATED:
        for seed in seeds:
            results.simulated.append(simulated(policy, seed, settings))


async def measure_costs(url: str) -> list[Measurement]:
    """What steps of an engine cost, measured from outside."""
    console.print("measuring steps", style="dim")
    async with connected(url, None, None) as (target, facts):
        session = Session(target, facts, USUAL)
        measured = await session.measure()
        await target.clean(session.programs)
    return measured


def fitted_profile(measured: Sequence[Measurement], results: Results) -> CostProfile:
    """The cost model of all measurements together."""
    fit = fit_costs(measured)
    profile = make_profile(
        fit, name="live-cpu", title="", source="", kv_bytes_per_token=KV_BYTES_PER_TOKEN
    )
    off = quality(fit, measured)
    results.profile = {
        **msgspec.to_builtins(profile),
        "request_ms": 1000 * fit.request_s,
        "median_error": off.median,
        "worst_error": off.worst,
    }
    return profile


def simulated(policy: str, seed: int, settings: EngineSettings) -> dict[str, Any]:
    """The programs of a seed under a policy on the simulated engine."""
    plans, programs = draw(seed)
    outcome = run_one(Simulation(plans, settings), Run(policy, programs), lambda _done: None)
    return {
        "policy": policy,
        "seed": seed,
        "jct_mean_s": fmean(p.jct_s for p in outcome.programs if p.jct_s is not None),
        "hit_rate": hit_rate(outcome.programs),
    }


def say(row: dict[str, Any]) -> None:
    """One finished run."""
    what = f"{row['active']} active" if "active" in row else f"seed {row['seed']}.{row['repeat']}"
    console.print(
        f"{row['engine']:22} {what:12} JCT {row['jct_mean_s']:6.2f} s   "
        f"prefilled {row['prefilled_tokens']:6,}   hits {row['hit_rate']:.3f}   "
        f"lag {row['largest_lag_ms']:.0f} ms",
        style="red" if row["failed"] else "dim",
    )


def of(runs: Sequence[dict[str, Any]], name: str, figure: str) -> list[float]:
    """A figure of one engine, in one order of seeds and repeats for all."""
    mine = [row for row in runs if row["engine"] == name]
    return [row[figure] for row in sorted(mine, key=lambda row: (row["repeat"], row["seed"]))]


def ratio(runs: Sequence[dict[str, Any]], first: str, other: str, figure: str) -> dict[str, Any]:
    """Paired ratio of `other` to `first`."""
    found = paired_ratio(of(runs, first, figure), of(runs, other, figure))
    assert found is not None
    return {"median": found.median, "low": found.low, "high": found.high, "pairs": found.pairs}


def gap_closed(runs: Sequence[dict[str, Any]]) -> float:
    """Share of the way from stock to stock with plentiful KV; median over the pairs."""
    triples = zip(
        of(runs, STOCK.name, "jct_mean_s"),
        of(runs, GUARD.name, "jct_mean_s"),
        of(runs, BOUND.name, "jct_mean_s"),
        strict=True,
    )
    return median((stock - ours) / (stock - bound) for stock, ours, bound in triples)


def summary(results: Results) -> dict[str, Any]:
    """The figures that the text quotes."""
    runs = results.runs
    names = list(dict.fromkeys(row["engine"] for row in runs))
    found = {
        "jct_to_stock": {name: ratio(runs, STOCK.name, name, "jct_mean_s") for name in names},
        "prefill_to_stock": {
            name: ratio(runs, STOCK.name, name, "prefilled_tokens") for name in names
        },
        "gap_closed": gap_closed(runs),
    }
    if results.plentiful:
        found["plentiful_guard_to_stock"] = plentiful_ratio(results.plentiful)
    return found


def plentiful_ratio(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Guard's JCT to stock's with plentiful KV; a pair is a run of each of two processes."""
    return ratio(runs, BOUND.name, FREE_GUARD.name, _JCT)


def print_jct(results: Results, figures: dict[str, Any]) -> None:
    """The table of engines."""
    table = Table("engine", title="Mean JCT over all runs; ratios are medians of pairs with stock")
    for heading in ("JCT s", "p95 s", "TTFT s", "JCT ratio", "95 %", "prefill ratio", "hits"):
        table.add_column(heading, justify="right")
    for name, found in figures["jct_to_stock"].items():
        mine = [row for row in results.runs if row["engine"] == name]
        table.add_row(
            name,
            *(f"{fmean(row[key] for row in mine):.2f}" for key in _TIMES),
            f"{found['median']:.3f}",
            f"{found['low']:.3f}-{found['high']:.3f}" if found["low"] else "",
            f"{figures['prefill_to_stock'][name]['median']:.3f}",
            f"{fmean(row['hit_rate'] for row in mine):.3f}",
        )
    console.print(table)
    console.print(f"guard closes {figures['gap_closed']:.0%} of the gap to plentiful KV")
    if not (free := figures.get("plentiful_guard_to_stock")):
        return
    console.print(
        f"with plentiful KV guard takes {free['median']:.3f} of stock "
        f"({free['low']:.3f}-{free['high']:.3f}, {free['pairs']} pairs of processes)"
    )


_JCT = "jct_mean_s"
_TIMES = (_JCT, "jct_p95_s", "ttft_mean_s")


def print_cliff(results: Results) -> None:
    """The table of concurrencies."""
    table = Table("active", title="Closed loop")
    for name in (STOCK.name, GUARD.name):
        for heading in ("programs per 1,000 s", "hits"):
            table.add_column(f"{name}: {heading}", justify="right")
    for active in CONCURRENCIES:
        cells: list[str] = []
        for name in (STOCK.name, GUARD.name):
            row = next(r for r in results.cliff if (r["engine"], r["active"]) == (name, active))
            cells += [f"{row['throughput_per_1000_s']:.1f}", f"{row['hit_rate']:.3f}"]
        table.add_row(str(active), *cells)
    console.print(table)


def print_simulated(results: Results) -> None:
    """Simulated beside live."""
    table = Table("policy", title="Simulated with the measured profile, beside live")
    for heading in ("simulated JCT s", "live JCT s", "ratio", "simulated hits", "live hits"):
        table.add_column(heading, justify="right")
    for policy, name in SIMULATED.items():
        mine = [row for row in results.simulated if row["policy"] == policy]
        live = [row for row in results.beside if row["engine"] == name]
        jcts = fmean(r["jct_mean_s"] for r in mine), fmean(r["jct_mean_s"] for r in live)
        hits = fmean(r["hit_rate"] for r in mine), fmean(r["hit_rate"] for r in live)
        table.add_row(
            policy,
            *(f"{jct:.2f}" for jct in jcts),
            f"{jcts[0] / jcts[1]:.3f}",
            *(f"{hit:.3f}" for hit in hits),
        )
    console.print(table)


def made() -> dict[str, Any]:
    """When, how and where a piece was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python {' '.join(sys.argv)}",
        "machine": machine() | {"sglang": version("sglang"), "torch": version("torch")},
    }


def parts(chosen: Sequence[Part] | None) -> Iterator[Part]:
    """In order."""
    yield from (part for part in Part if not chosen or part in chosen)


def main(
    *,
    part: list[Part] | None = None,
    seed: list[int] | None = None,
    repeats: int = 2,
    json: Path | None = None,
) -> None:
    """Measure and print.

    Parameters
    ----------
    part
        Pieces; all by default.
    seed
        Seeds of the runs; 1 to 5 by default.
    repeats
        Runs of each seed, each with other token ids.
    json
        Everything measured; what is there already is kept and added to.
    """
    seeds = seed or [1, 2, 3, 4, 5]
    document: dict[str, Any] = {}
    if json is not None and json.exists():
        document = msgspec.json.decode(json.read_bytes())
    results = Results(
        **{
            name: document[name]
            for name in ("runs", "plentiful", "cliff", "beside", "simulated")
            if name in document
        },
        profile=document.get("profile", {}),
        cap=document.get("cap"),
    )
    began = time.monotonic()
    for piece in parts(part):
        if piece is Part.JCT:
            results.runs = []
            anyio.run(measure_jct, seeds, repeats, results)
        elif piece is Part.PLENTIFUL:
            results.plentiful = []
            anyio.run(measure_plentiful, seeds, results)
        elif piece is Part.CLIFF:
            results.cliff = []
            anyio.run(measure_cliff, results)
        else:
            results.beside, results.simulated = [], []
            anyio.run(measure_simulated, seeds, results)
        if json is not None:
            document |= {
                "made": {**document.get("made", {}), piece: made()},
                **msgspec.to_builtins(results),
            }
            if results.runs:
                document["summary"] = summary(results)
            json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    if results.runs:
        print_jct(results, summary(results))
    if results.cliff:
        print_cliff(results)
    if results.simulated:
        print_simulated(results)
    console.print(f"{time.monotonic() - began:.0f} s", style="dim")


if __name__ == "__main__":
    run(main)
