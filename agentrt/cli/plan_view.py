"""What `agentrt plan` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentrt.cli import console
from agentrt.replay.capacity import Capacity, engines_needed
from agentrt.replay.formats.validation import counted
from agentrt.replay.report.numbers import count, significant
from agentrt.replay.report.style import is_bound


def print_plan(to: Console, document: dict[str, Any], capacities: Sequence[Capacity]) -> None:
    """The heading, a line per policy and size of memory, and how to read it."""
    settings, engine = document["settings"], document["engine"]
    files = ", ".join(Path(file).name for file in document["workload"]["files"])
    to.print(Text.assemble(("SIMULATED", "bold yellow"), "  ", (files, "bold")), soft_wrap=True)
    lists = (
        f"{counted(settings['programs'], 'program')} × {counted(len(settings['seeds']), 'seed')}"
    )
    to.print(Text(f"{engine['title'] or engine['profile']}; Poisson arrivals; {lists} per rate"))
    to.print()
    width = min(to.width, console.MAX_WIDTH)
    to.print(_table(capacities, settings["factor"], settings["target_rate"]), width=width)
    text = (
        "Stable: the largest rate of arrivals, in programs per hour, at which no seed's backlog "
        f"grows, to {settings['tolerance']:.0%}. × alone: mean JCT there over that of programs "
        f"alone. Within {settings['factor']:g}×: the largest rate at which that is at most "
        f"{settings['factor']:g}."
    )
    to.print(Padding(Text(text, style="dim"), (1, 0, 0, 0)), width=width)
    left_out = {c.kv_tokens: c.excluded for c in capacities if c.excluded}
    for kv_tokens, number in left_out.items():
        note = f"{counted(number, 'program')} left out with {kv_tokens:,} KV tokens: too large."
        to.print(Text.assemble(("note: ", "yellow"), note), width=width)


def _table(capacities: Sequence[Capacity], factor: float, target_rate: float | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("KV\ntokens", justify="right", no_wrap=True)
    table.add_column("\npolicy", overflow="fold")
    headings = ["stable\nper hour", "\nper s", "JCT s\nthere", "×\nalone"]
    headings += [f"within {factor:g}×\nper hour", "\nper s"]
    if target_rate is not None:
        headings.append(f"engines for\n{target_rate:g} per s")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    before = None
    for capacity in capacities:
        if before not in (None, capacity.kv_tokens):
            table.add_row()
        size = "" if before == capacity.kv_tokens else f"{capacity.kv_tokens:,}"
        before = capacity.kv_tokens
        cells = _cells(capacity)
        if target_rate is not None:
            cells.append(count(engines_needed(target_rate, capacity)))
        style = "dim" if is_bound(capacity.policy) else None
        table.add_row(size, Text(capacity.policy), *cells, style=style)
    return table


def _cells(capacity: Capacity) -> list[str]:
    if capacity.stable_rate is None:
        return ["none", *("–" for _ in range(5))]
    close = capacity.factor_rate
    return [
        significant(3600 * capacity.stable_rate),
        f"{capacity.stable_rate:#.3g}",
        significant(capacity.jct_mean_s),
        significant(capacity.jct_mean_s / capacity.isolated_mean_s),
        "none" if close is None else significant(3600 * close),
        "–" if close is None else f"{close:#.3g}",
    ]
