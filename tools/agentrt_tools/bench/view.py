"""The table of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

UNKNOWN = "–"


def table(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Scores beside times, a row per policy; below it the scores by category and what failed."""
    view = Table(box=None, pad_edge=False)
    view.add_column("policy")
    for heading in (
        "entries", "valid", "score", "JCT s\nmean", "\np95", "TTFT s\nmean", "cached",
        "tools s\nmean", "turns", "calls",
    ):  # fmt: skip
        view.add_column(heading, justify="right")
    for row in rows:
        view.add_row(
            row["policy"] or UNKNOWN,
            f"{row['entries']:,}",
            f"{row['valid']:,}",
            _percent(row["score"]),
            _seconds(row["jct_mean_s"]),
            _seconds(row["jct_p95_s"]),
            _seconds(row["ttft_mean_s"]),
            _percent(row["cached_fraction"]),
            _seconds(row["tool_mean_s"]),
            f"{row['turns']:,}",
            f"{row['tool_calls']:,}",
        )
    parts: list[RenderableType] = [view]
    if any(row["injected_mean_s"] for row in rows):
        added = ", ".join(f"{_seconds(row['injected_mean_s'])} s" for row in rows)
        parts.append(f"of the time in tools, pauses that were injected: {added}")
    if len(rows) > 1:
        differing = ", ".join(
            f"{row['policy'] or UNKNOWN} {row['differing']:,} of {row['entries']:,}"
            for row in rows[1:]
        )
        parts.append(f"transcripts other than under {rows[0]['policy'] or UNKNOWN}: {differing}")
    if any(len(row["score_by_category"]) > 1 for row in rows):
        parts += ["", _beside("score of", rows, "score_by_category", _percent)]
    if any(row["problems"] for row in rows):
        parts += ["", _beside("what was wrong", rows, "problems", _count)]
    return Group(*parts)


def _beside(
    title: str, rows: Sequence[dict[str, Any]], key: str, cell: Callable[[Any], str]
) -> Table:
    """One part of all rows, a column per policy."""
    view = Table(box=None, pad_edge=False)
    view.add_column(title)
    for row in rows:
        view.add_column(row["policy"] or UNKNOWN, justify="right")
    for name in dict.fromkeys(name for row in rows for name in row[key]):
        view.add_row(name, *(cell(row[key].get(name)) for row in rows))
    return view


def _count(value: int | None) -> str:
    return f"{value or 0:,}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
