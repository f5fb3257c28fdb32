"""Figures of a run, by policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from agentrt_tools.bench.results import EntryResult


def figures(results: Sequence[EntryResult]) -> list[dict[str, Any]]:
    """One row per policy, in the order in which they come: scores, times, tokens, problems.

    `differing` counts entries in which the model called or answered something else than under the
    first policy, of those that have a result under both.
    """
    policies = list(dict.fromkeys(each.policy for each in results))
    by_policy = {name: [each for each in results if each.policy == name] for name in policies}
    return [_row(name, by_policy[name], by_policy[policies[0]]) for name in policies]


def _row(
    policy: str | None, results: Sequence[EntryResult], first: Sequence[EntryResult]
) -> dict[str, Any]:
    said = {each.entry: (each.calls, each.answers) for each in first}
    categories = dict.fromkeys(each.category for each in results)
    seconds = sorted(each.seconds for each in results)
    cached = [each for each in results if each.cached_tokens is not None]
    return {
        "policy": policy,
        "entries": len(results),
        "valid": sum(each.valid is True for each in results),
        "score": _score(results),
        "score_by_category": {
            name: _score([each for each in results if each.category == name]) for name in categories
        },
        "differing": sum(
            said.get(each.entry, (each.calls, each.answers)) != (each.calls, each.answers)
            for each in results
        ),
        "jct_mean_s": fmean(seconds),
        "jct_p95_s": seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))],
        "ttft_mean_s": _mean(each.ttft_s for each in results if each.ttft_s is not None),
        "cached_fraction": _ratio(
            sum(each.cached_tokens or 0 for each in cached),
            sum(each.input_tokens for each in cached),
        ),
        "tool_mean_s": fmean(each.tool_s for each in results),
        "injected_mean_s": fmean(each.injected_s for each in results),
        "turns": sum(each.turns for each in results),
        "tool_calls": sum(each.tool_calls for each in results),
        "input_tokens": sum(each.input_tokens for each in results),
        "output_tokens": sum(each.output_tokens for each in results),
        "problems": dict(Counter(each.problem for each in results if each.problem).most_common()),
    }


def _score(results: Sequence[EntryResult]) -> float | None:
    scored = [each for each in results if each.valid is not None]
    return _ratio(sum(each.valid is True for each in scored), len(scored))


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
