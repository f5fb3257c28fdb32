"""The table: every figure of every policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agentrt.replay.report.markup import Html, tag
from agentrt.replay.report.numbers import count, fixed, percent, significant
from agentrt.replay.report.style import is_bound
from agentrt.replay.report.view import Section, View, scrolling, sentence

_LIVE_CAPTION = (
    "Paired: the median ratio of runs of the same seed and repeat, with its 95 % interval. "
    "Times alone were not measured. "
)


class Better(Enum):
    """Which end of a column is the good one."""

    LOW = 1
    HIGH = -1


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: where its number is, how it is written, what is good."""

    heading: str
    value: Callable[[dict[str, Any]], float | None]
    write: Callable[[float | None], str]
    better: Better | None = None


def results(view: View) -> Section:
    """All columns, the best of each marked."""
    if not view.rows:
        return Section("results", "Results", sentence("No policy was replayed."))
    columns = _columns(view.rows[0])
    best = [_best(column, view.rows) for column in columns]
    head = tag(
        "tr",
        tag("th", view.noun, scope="col"),
        *[tag("th", c.heading, scope="col") for c in columns],
    )
    body = [
        tag(
            "tr",
            tag("th", view.name(str(row["policy"])), _overloaded(row), scope="row"),
            *[_cell(column, row, mark) for column, mark in zip(columns, best, strict=True)],
            class_="bound" if is_bound(str(row["policy"])) else None,
        )
        for row in view.rows
    ]
    made = tag("table", tag("thead", head), tag("tbody", *body), class_="results")
    return Section("results", "Results", scrolling(made, *_caption(view)))


def _columns(first: dict[str, Any]) -> list[Column]:
    def at(key: str) -> Callable[[dict[str, Any]], float | None]:
        return lambda row: row.get(key)

    def ratio(row: dict[str, Any]) -> float | None:
        mean, base = row.get("jct_mean_s"), first.get("jct_mean_s")
        return None if mean is None or not base else mean / base

    def paired(what: str, part: str) -> Callable[[dict[str, Any]], float | None]:
        return lambda row: ((row.get("paired") or {}).get(what) or {}).get(part)

    low, high = Better.LOW, Better.HIGH
    pairs = [
        Column("JCT × first, paired", paired("jct_mean", "median"), lambda v: fixed(v, 3), low),
        Column("from", paired("jct_mean", "low"), lambda v: fixed(v, 3)),
        Column("to", paired("jct_mean", "high"), lambda v: fixed(v, 3)),
        Column(
            "prefilled × first, paired",
            paired("prefilled_tokens", "median"),
            lambda v: fixed(v, 3),
            low,
        ),
        Column("failed", at("failed"), count),
    ]
    return [
        Column("JCT mean, s", at("jct_mean_s"), significant, low),
        Column("× first", ratio, lambda v: fixed(v, 2), low),
        *(pairs if "failed" in first else []),
        Column("JCT p50, s", at("jct_p50_s"), significant, low),
        Column("JCT p95, s", at("jct_p95_s"), significant, low),
        Column("JCT p99, s", at("jct_p99_s"), significant, low),
        Column("slow­down p99", at("slowdown_p99"), significant, low),
        Column("slow­down max", at("slowdown_max"), significant, low),
        Column("TTFT mean, s", at("ttft_mean_s"), significant, low),
        Column("recom­puted per new", at("recomputed_per_new"), significant, low),
        Column("hit rate", at("hit_rate"), percent, high),
        Column("programs per 1,000 s", at("throughput_per_1000_s"), significant, high),
        Column("pro­grams", at("programs"), count),
        Column("left out", at("excluded"), count),
        Column("seeds", lambda row: len(row.get("seeds") or []), count),
        Column("wall, s", at("wall_s"), significant),
    ]


def _best(column: Column, rows: list[dict[str, Any]]) -> str | None:
    """How the best value of the column is written; None where nothing is worth a mark."""
    if column.better is None:
        return None
    sign = column.better.value
    real = [row for row in rows if not is_bound(str(row["policy"]))]
    values = [v for row in real if (v := column.value(row)) is not None]
    written = {column.write(v) for v in values}
    if len(written) < 2:
        return None
    return column.write(min(values, key=lambda v: v * sign))


def _cell(column: Column, row: dict[str, Any], best: str | None) -> Html:
    written = column.write(column.value(row))
    parts: list[str] = [written]
    if written == best and not is_bound(str(row["policy"])):
        parts = [tag("strong", written)]
    means = row.get("jct_seed_means_s") or []
    if column.heading.startswith("JCT mean") and len(means) > 1:
        parts.append(tag("small", f"{significant(min(means))}–{significant(max(means))}"))
    return tag("td", *parts)


def _overloaded(row: dict[str, Any]) -> Html:
    return tag("small", "overloaded", class_="warning") if row.get("overloaded") else Html()


def _caption(view: View) -> list[str]:
    bounds = any(is_bound(policy) for policy in view.policies)
    return [
        view.badge(),
        "Over all seeds; below the mean, the least and the greatest mean of a seed. "
        "JCT: from the arrival of a program to the end of its last turn. "
        "Slowdown: JCT over the time alone on the engine. TTFT: to the first token of a turn. "
        + ("" if view.simulated else _LIVE_CAPTION)
        + "Marked: the best of a column"
        + (", bounds (in italics) aside." if bounds else "."),
    ]
