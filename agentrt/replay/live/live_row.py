"""The row of a live engine, with what only a client that measures can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

from agentrt.replay.live.alone import overloaded
from agentrt.replay.live.paired import paired_ratio
from agentrt.replay.live.run import LiveRun
from agentrt.replay.row import Row, make_row

#: A client that sends a request later than this after it was due is said to lag.
LAG_S = 0.05


def live_rows(runs: Sequence[Sequence[LiveRun]], excluded: int) -> list[Row]:
    """A row per engine; each but the first with its ratios to the first.

    Args:
        runs: per engine, in one order of seeds and repeats, at least one.
        excluded: programs that were left out.
    """
    return [_row(found, runs[0] if number else None, excluded) for number, found in enumerate(runs)]


def run_entries(runs: Sequence[Sequence[LiveRun]]) -> list[dict[str, Any]]:
    """Each run by itself, for a result document."""
    return [
        {
            "engine": run.outcome.policy,
            "seed": run.outcome.seed,
            "repeat": run.repeat,
            "jct_mean_s": mean_jct_s(run),
            "prefilled_tokens": prefilled_tokens(run),
            "output_tokens": sum(program.output_tokens for program in run.outcome.programs),
            "makespan_s": run.outcome.makespan_s,
            "failed": len(run.failures),
            "largest_lag_ms": 1000 * run.largest_lag_s,
            "hints": run.hints,
            "refused_hints": run.refused_hints,
        }
        for found in runs
        for run in found
    ]


def mean_jct_s(run: LiveRun) -> float | None:
    """Of a run's programs; None if one failed, because the others then had the engine more."""
    times = [job.jct_s for job in run.outcome.jobs]
    known = [time for time in times if time is not None]
    return fmean(known) if known and len(known) == len(times) else None


def prefilled_tokens(run: LiveRun) -> int | None:
    """Prompt tokens that the engine computed; None if a program failed or hits are not known."""
    if run.failures or not run.cached_known:
        return None
    programs = run.outcome.programs
    return sum(p.new_tokens + p.reusable_tokens - p.hit_tokens for p in programs)


def _row(runs: Sequence[LiveRun], first: Sequence[LiveRun] | None, excluded: int) -> Row:
    outcomes = [run.outcome for run in runs]
    row = make_row(outcomes, overloaded=sum(overloaded(run.outcome, run.works) for run in runs))
    means = [mean for run in runs if (mean := mean_jct_s(run)) is not None]
    prefilled = [tokens for run in runs if (tokens := prefilled_tokens(run)) is not None]
    row |= {
        "excluded": excluded,
        "failed": sum(len(run.failures) for run in runs),
        "jct_median_s": median(means) if means else None,
        "prefilled_tokens_median": median(prefilled) if prefilled else None,
        "largest_lag_ms": 1000 * max(run.largest_lag_s for run in runs),
    }
    if not all(run.cached_known for run in runs):
        row |= {"hit_rate": None, "recomputed_per_new": None}
    # What goes on inside an engine is not seen by its clients.
    unseen = ("preemptions", "lost_tokens", "host_hit_tokens")
    row |= dict.fromkeys([*unseen, "gpu_prefill_s", "gpu_recompute_s", "gpu_decode_s"])
    if first is not None:
        measures = {"jct_mean": mean_jct_s, "prefilled_tokens": prefilled_tokens}
        pairs = {
            name: paired_ratio([of(run) for run in first], [of(run) for run in runs])
            for name, of in measures.items()
        }
        row["paired"] = {
            name: None if ratio is None else asdict(ratio) for name, ratio in pairs.items()
        }
    return row
