"""The tables of `agentrt replay`, simulated or live."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentrt.cli import console
from agentrt.replay.report import SweepPoint
from agentrt.replay.report.numbers import count, fixed, percent, significant
from agentrt.replay.report.style import is_bound
from agentrt.replay.row import Row

#: Names of policies are folded beyond this, where their parameters begin.
POLICY_WIDTH = 20
#: Columns that no table has.
_UNBOUNDED = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: a heading of one or two lines and the cell of a row."""

    heading: str
    cell: Callable[[Row], str]


def columns(first: Row) -> list[Column]:
    """Those of every replay; with `SLOWDOWNS` they fit 100 columns."""
    base = first["jct_mean_s"]

    def ratio(row: Row) -> str:
        if paired := row.get("paired", {}).get("jct_mean"):
            return fixed(paired["median"], 2)
        mean = row["jct_mean_s"]
        return fixed(mean / base if base and mean is not None else None, 2)

    return [
        Column("JCT s\nmean", _number("jct_mean_s")),
        Column("", _spread),
        Column("\np95", _number("jct_p95_s")),
        Column("\np99", _number("jct_p99_s")),
        Column("×\nfirst", ratio),
        Column("TTFT s\nmean", _number("ttft_mean_s")),
        Column("recom-\nputed", _number("recomputed_per_new")),
        Column("hit\nrate", lambda row: percent(row["hit_rate"])),
        Column("per\n1000 s", _number("throughput_per_1000_s")),
    ]


def _number(key: str) -> Callable[[Row], str]:
    return lambda row: significant(row[key])


def _count(key: str) -> Callable[[Row], str]:
    return lambda row: count(row[key])


def _spread(row: Row) -> str:
    """Half the range of the means of the seeds, to the digits that the mean is written with."""
    means = [mean for mean in row["jct_seed_means_s"] if mean is not None]
    if len(means) < 2:
        return ""
    digits = max(0, 2 - math.floor(math.log10(max(1.0, row["jct_mean_s"]))))
    return f"±{(max(means) - min(means)) / 2:,.{digits}f}"


SLOWDOWNS = [
    Column("slow\np99", _number("slowdown_p99")),
    Column("\nmax", _number("slowdown_max")),
]

#: What `--wide` adds for every replay.
WIDE = [
    Column("JCT s\np50", _number("jct_p50_s")),
    Column("pro-\ngrams", _count("programs")),
    Column("left\nout", _count("excluded")),
    Column("\nturns", _count("turns")),
]
#: … for one whose engine was simulated.
WIDE_SIMULATED = [
    Column("pre-\nempted", _count("preemptions")),
    Column("tokens\nlost", _count("lost_tokens")),
    Column("GPU s\nprefill", _number("gpu_prefill_s")),
    Column("GPU s\nrecompute", _number("gpu_recompute_s")),
    Column("GPU s\ndecode", _number("gpu_decode_s")),
    Column("wall\ns", _number("wall_s")),
]
#: … for one whose engine was live.
WIDE_LIVE = [
    Column("\nfailed", _count("failed")),
    Column("tokens\nprefilled", _count("prefilled_tokens_median")),
    Column("lag\nms", _number("largest_lag_ms")),
    Column("wall\ns", _number("wall_s")),
]


def result_table(rows: Sequence[Row], shown: Sequence[Column], *, first: str = "policy") -> Table:
    """A line for each row; those of each mode of LoRA sharing below its name, if there are several.

    Args:
        first: heading of the names.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
    table.add_column(f"\n{first}", max_width=POLICY_WIDTH, overflow="fold")
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    bounds = False
    sharing = None
    for row in rows:
        policy = str(row["policy"])
        if row.get("lora_sharing") != sharing:
            sharing = row["lora_sharing"]
            bounds = False
            table.add_row(Text(f"LoRA sharing {sharing}", "bold"))
        if is_bound(policy) and not bounds:
            bounds = True
            table.add_section()
        table.add_row(
            name(policy, *_marks(row)),
            *(column.cell(row) for column in shown),
            style="dim" if is_bound(policy) else None,
        )
    return table


def _marks(row: Row) -> list[str]:
    """What is wrong with a row: overloaded, with the seeds if not all of them are; failures."""
    marks = []
    if row["overloaded"]:
        seeds, over = len(row["seeds"]), row["overloaded_seeds"]
        marks.append("overloaded" if over == seeds else f"overloaded ({over}/{seeds})")
    if row.get("failed"):
        marks.append(f"{row['failed']} failed")
    return marks


def name(policy: str, *marks: str) -> Text:
    """A policy, a long one broken before its parameters, and marks below."""
    kind, colon, parameters = policy.partition(":")
    shown = policy
    if len(policy) > POLICY_WIDTH and colon:
        shown = f"{kind}:\n  " + parameters.replace(",", ",\n  ")
    return Text.assemble(shown, *((f"\n  {mark}", "yellow") for mark in marks))


def print_sweep(to: Console, points: Sequence[SweepPoint], size: str) -> None:
    """Throughput and hit rate of each policy at each concurrency.

    Args:
        size: of the lists, in words.
    """
    numbers = sorted({point.concurrency for point in points})
    table = Table(box=None, pad_edge=False)
    table.add_column("programs per 1000 s", max_width=POLICY_WIDTH, overflow="fold")
    for number in numbers:
        table.add_column(f"{number} active", justify="right", no_wrap=True)
    for policy in dict.fromkeys(point.policy for point in points):
        cells = {}
        for point in points:
            if point.policy == policy and point.throughput_per_1000_s:
                hits = f" {percent(fmean(point.hit_rate)):>7}" if point.hit_rate else ""
                cells[point.concurrency] = (
                    f"{significant(fmean(point.throughput_per_1000_s))}{hits}"
                )
        table.add_row(
            name(policy),
            *(cells.get(number, "–") for number in numbers),
            style="dim" if is_bound(policy) else None,
        )
    show(to, table)
    to.print(Text(f"Beside it the hit rate; {size} each.", style="dim"))


def print_legend(to: Console, text: str) -> None:
    """What the columns mean, below a table."""
    to.print(Padding(Text(text, style="dim"), (1, 0, 0, 0)), width=width(to))


def print_note(to: Console, note: str) -> None:
    """Something to be said about the figures."""
    to.print()
    to.print(Text.assemble(("note: ", "yellow"), note), width=width(to))


def show(to: Console, table: Table, *, wide: bool = False) -> None:
    """Print a table, no wider than consoles are, or `wide` as it is."""
    if wide:
        # As wide as it is: a terminal wraps it, a file has all of it.
        unbounded = Console(file=to.file, width=_UNBOUNDED, highlight=False)
        unbounded.print(table, width=unbounded.measure(table).maximum)
    else:
        to.print(table, width=width(to))


def width(to: Console) -> int:
    """Columns to print on."""
    return min(to.width, console.MAX_WIDTH)
