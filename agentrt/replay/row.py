"""One row of `agentrt.replay.v1`: what a policy came to over all its seeds.

Made from outcomes alone, so simulated and live runs have the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from agentrt.replay.overload import is_overloaded
from agentrt_engine.outcome import ProgramOutcome, RunOutcome

#: The row of the times that programs take alone.
ISOLATED = "isolated"

Row = dict[str, Any]


def make_row(runs: Sequence[RunOutcome], *, overloaded: int | None = None) -> Row:
    """The row of one policy.

    Means of times are means over the seeds' means; quantiles are over all programs, the smallest
    value that is not exceeded; rates are ratios of sums. Times are of programs that arrived by
    themselves, the time of their children is in theirs; tokens are of all. A figure that nothing
    is known of is None. Programs that never ended count in `programs`, not in their times.

    Args:
        runs: of the same policy, at least one, each of another seed or a repeat of one.
        overloaded: how many of them were; None: judged by the times that programs take alone.
    """
    programs = [program for run in runs for program in run.programs]
    jobs = [job for run in runs for job in run.jobs]
    seed_means = [_mean(_times(run.jobs)) for run in runs]
    times = sorted(_times(jobs))
    slowdowns = sorted(_slowdowns(jobs))
    new = sum(program.new_tokens for program in programs)
    reusable = sum(program.reusable_tokens for program in programs)
    hits = sum(program.hit_tokens for program in programs)
    if overloaded is None:
        overloaded = sum(map(is_overloaded, runs))
    return {
        "policy": runs[0].policy,
        "seeds": [run.seed for run in runs],
        "programs": len(jobs),
        "excluded": runs[0].excluded,
        "overloaded": 2 * overloaded >= len(runs),
        "jct_mean_s": _mean([mean for mean in seed_means if mean is not None]),
        "jct_seed_means_s": seed_means,
        "jct_p50_s": _quantile(times, 50),
        "jct_p95_s": _quantile(times, 95),
        "jct_p99_s": _quantile(times, 99),
        "slowdown_p99": _quantile(slowdowns, 99),
        "slowdown_max": slowdowns[-1] if slowdowns else None,
        "ttft_mean_s": _mean([time for program in programs for time in program.ttft_s]),
        "recomputed_per_new": (reusable - hits) / new if new else None,
        "hit_rate": hits / reusable if reusable else None,
        "throughput_per_1000_s": _mean(throughputs(runs)),
        "wall_s": sum(run.wall_s for run in runs),
        "overloaded_seeds": overloaded,
        "unfinished": len(jobs) - len(times),
        "isolated_mean_s": _mean([job.isolated_s for job in jobs if job.isolated_s]),
        "turns": sum(program.turns for program in programs),
        "preemptions": sum(program.preemptions for program in programs),
        "lost_tokens": sum(program.lost_tokens for program in programs),
        "host_hit_tokens": sum(program.host_hit_tokens for program in programs),
        "gpu_prefill_s": sum(program.account.prefill_s for program in programs),
        "gpu_recompute_s": sum(program.account.recompute_s for program in programs),
        "gpu_decode_s": sum(program.account.decode_s for program in programs),
    }


def isolated_row(runs: Sequence[RunOutcome]) -> Row:
    """The times that the programs of these runs take alone, as the row of a bound."""
    times = sorted(job.isolated_s for run in runs for job in run.jobs)
    seed_means = [fmean(job.isolated_s for job in run.jobs) for run in runs]
    row: Row = dict.fromkeys(make_row(runs))
    return row | {
        "policy": ISOLATED,
        "seeds": [run.seed for run in runs],
        "programs": len(times),
        "excluded": runs[0].excluded,
        "overloaded": False,
        "jct_mean_s": fmean(seed_means),
        "jct_seed_means_s": seed_means,
        "jct_p50_s": _quantile(times, 50),
        "jct_p95_s": _quantile(times, 95),
        "jct_p99_s": _quantile(times, 99),
        "slowdown_p99": 1.0,
        "slowdown_max": 1.0,
        "recomputed_per_new": 0.0,
        "hit_rate": 1.0,
        "wall_s": 0.0,
    }


def throughputs(runs: Sequence[RunOutcome]) -> list[float]:
    """Programs ended per 1,000 seconds, from the start to the last end, of each run."""
    return [
        1000 * sum(job.end_s is not None for job in run.jobs) / run.makespan_s
        for run in runs
        if run.makespan_s > 0
    ]


def hit_rates(runs: Sequence[RunOutcome]) -> list[float]:
    """Share of the reusable prompt tokens found in the cache, of each run that has any."""
    rates = []
    for run in runs:
        reusable = sum(program.reusable_tokens for program in run.programs)
        if reusable:
            rates.append(sum(program.hit_tokens for program in run.programs) / reusable)
    return rates


def _times(programs: Sequence[ProgramOutcome]) -> list[float]:
    return [program.jct_s for program in programs if program.jct_s is not None]


def _slowdowns(programs: Sequence[ProgramOutcome]) -> Iterator[float]:
    for program in programs:
        if program.jct_s is not None and program.isolated_s > 0:
            yield program.jct_s / program.isolated_s


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _quantile(ordered: Sequence[float], percent: int) -> float | None:
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None
