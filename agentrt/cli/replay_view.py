"""What `agentrt replay` prints."""

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
from agentrt.replay.comparison import Compared
from agentrt.replay.formats.validation import counted
from agentrt.replay.report.numbers import count, fixed, percent, significant
from agentrt.replay.report.style import is_bound
from agentrt.replay.row import Row
from agentrt.replay.simulated_replay import SimulatedReplay

#: Names of policies are folded beyond this, where their parameters begin.
_POLICY_WIDTH = 20
#: Columns that no table has.
_UNBOUNDED = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: a heading of one or two lines and the cell of a row."""

    heading: str
    cell: Callable[[Row], str]


def print_replay(to: Console, replay: SimulatedReplay, compared: Compared, *, wide: bool) -> None:
    """The heading, the table, the sweep and what is to be said about them."""
    _print_heading(to, replay)
    to.print()
    columns = _columns(compared.rows[0])
    _show(to, _table(compared.rows, [*columns, *(_WIDE if wide else [])]), wide=wide)
    _print_legend(to, len(replay.lists), wide=wide)
    if compared.sweep:
        to.print()
        _print_sweep(to, replay, compared)
    _print_notes(to, replay, compared)


def _print_heading(to: Console, replay: SimulatedReplay) -> None:
    settings = replay.settings
    files = ", ".join(path.name for path in replay.files)
    to.print(
        Text.assemble(("SIMULATED", "bold yellow"), "  ", (files, "bold")),
        soft_wrap=True,
    )
    engine = f"{settings.profile.title or settings.profile.name}, {settings.kv_tokens:,} KV tokens"
    if settings.host_tokens is not None:
        engine += f" and {settings.host_tokens:,} in a host tier at {settings.host_gbps:g} GB/s"
    to.print(Text(f"{engine}; {replay.load.described()}"))
    lists = f"{counted(len(replay.lists[0]), 'program')} × {counted(len(replay.lists), 'seed')}"
    if settings.pause_cap_s is not None:
        lists += f"; pauses cut to {settings.pause_cap_s:g} s"
    to.print(Text(lists))


def _columns(first: Row) -> list[Column]:
    """Those that fit 100 columns."""
    base = first["jct_mean_s"]

    def ratio(row: Row) -> str:
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
        Column("slow\np99", _number("slowdown_p99")),
        Column("\nmax", _number("slowdown_max")),
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


_WIDE = [
    Column("JCT s\np50", _number("jct_p50_s")),
    Column("pro-\ngrams", _count("programs")),
    Column("left\nout", _count("excluded")),
    Column("\nturns", _count("turns")),
    Column("pre-\nempted", _count("preemptions")),
    Column("tokens\nlost", _count("lost_tokens")),
    Column("GPU s\nprefill", _number("gpu_prefill_s")),
    Column("GPU s\nrecompute", _number("gpu_recompute_s")),
    Column("GPU s\ndecode", _number("gpu_decode_s")),
    Column("wall\ns", _number("wall_s")),
]


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
    table.add_column("\npolicy", max_width=_POLICY_WIDTH, overflow="fold")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    bounds = False
    for row in rows:
        policy = str(row["policy"])
        if is_bound(policy) and not bounds:
            bounds = True
            table.add_section()
        table.add_row(
            _name(policy, _overload(row)),
            *(column.cell(row) for column in columns),
            style="dim" if is_bound(policy) else None,
        )
    return table


def _overload(row: Row) -> str:
    """The mark of an overloaded policy, with the number of seeds if not all of them are."""
    if not row["overloaded"]:
        return ""
    seeds, over = len(row["seeds"]), row["overloaded_seeds"]
    return "overloaded" if over == seeds else f"overloaded ({over}/{seeds})"


def _name(policy: str, mark: str = "") -> Text:
    """A policy, a long one broken before its parameters, and a mark below."""
    name, colon, parameters = policy.partition(":")
    shown = policy
    if len(policy) > _POLICY_WIDTH and colon:
        shown = f"{name}:\n  " + parameters.replace(",", ",\n  ")
    return Text.assemble(shown, (f"\n  {mark}", "yellow") if mark else "")


def _print_legend(to: Console, seeds: int, *, wide: bool) -> None:
    spread = " ± is half the range of the seeds' means." if seeds > 1 else ""
    over = " GPU seconds and counts are sums over all seeds." if wide else ""
    text = (
        "JCT: from a program's arrival to the end of its last turn. × first: mean JCT over that of "
        f"the first policy.{spread} Recomputed: tokens per new token. Per 1000 s: programs ended. "
        f"Slow: JCT over the time alone on the engine.{over}"
    )
    to.print(Padding(Text(text, style="dim"), (1, 0, 0, 0)), width=_width(to))


def _print_sweep(to: Console, replay: SimulatedReplay, compared: Compared) -> None:
    """Throughput and hit rate of each policy at each concurrency."""
    numbers = sorted({point.concurrency for point in compared.sweep})
    table = Table(box=None, pad_edge=False)
    table.add_column("programs per 1000 s", max_width=_POLICY_WIDTH, overflow="fold")
    for number in numbers:
        table.add_column(f"{number} active", justify="right", no_wrap=True)
    for policy in dict.fromkeys(point.policy for point in compared.sweep):
        cells = {}
        for point in compared.sweep:
            if point.policy == policy and point.throughput_per_1000_s:
                hits = f" {percent(fmean(point.hit_rate)):>7}" if point.hit_rate else ""
                cells[point.concurrency] = (
                    f"{significant(fmean(point.throughput_per_1000_s))}{hits}"
                )
        table.add_row(
            _name(policy),
            *(cells.get(number, "–") for number in numbers),
            style="dim" if is_bound(policy) else None,
        )
    _show(to, table)
    lists = replay.comparison().sweep_lists
    size = f"{counted(len(lists[0]), 'program')} × {counted(len(lists), 'seed')} each"
    to.print(Text(f"Beside it the hit rate; {size}.", style="dim"))


def _print_notes(to: Console, replay: SimulatedReplay, compared: Compared) -> None:
    for note in _notes(replay, compared):
        to.print()
        to.print(Text.assemble(("note: ", "yellow"), note), width=_width(to))
    if any(row["overloaded"] for row in compared.rows):
        command = replay.closed(_concurrency_instead(replay, compared)).command()
        to.print(Text(f"  {command}"), soft_wrap=True)


def _notes(replay: SimulatedReplay, compared: Compared) -> list[str]:
    notes = list(replay.trace.notes)
    workload, lists = replay.workload, replay.lists
    if workload.left_out:
        notes.append(
            f"{counted(len(workload.left_out), 'program')} of the trace left out: a turn takes "
            f"more than 94 % of {replay.settings.kv_tokens:,} KV tokens."
        )
    if workload.children:
        notes.append(
            f"the trace has {counted(workload.children, 'subagent')}: part of the programs that "
            "wait for them, not counted as programs."
        )
    active = replay.load.concurrency
    if active is not None and len(lists[0]) < 3 * active:
        notes.append(
            f"{counted(len(lists[0]), 'program')} with {active} active: much of the run is filling "
            "and draining; give more --programs for figures of a steady state."
        )
    if replay.quick_sweep and replay.sweep is None and not compared.sweep:
        notes.append(
            "the report has no sweep over the number of active programs, which would have taken "
            "long; for one: --sweep 4,8,16,32"
        )
    over = [row for row in compared.rows if row["overloaded"]]
    if over:
        names = ", ".join(str(row["policy"]) for row in over)
        notes.append(
            f"overloaded: {names}. More programs arrived than were served: the backlog was still "
            "growing at the last arrival, so a mean JCT depends on how long the run is. Compare "
            "throughput with a fixed number of programs active instead:"
        )
    return notes


def _concurrency_instead(replay: SimulatedReplay, compared: Compared) -> int:
    """A number of active programs that loads the engine as well: a power of two from 8 on.

    Four times as many as would be active if each ran alone (Little's law: rate times that time),
    but few enough for a run that is not mostly filling and draining.
    """
    arrivals = replay.lists[0].arrival_s or (0.0,)
    alone_s = compared.rows[0]["isolated_mean_s"] or 0.0
    active = 4 * alone_s * len(arrivals) / max(arrivals[-1], 1.0)
    most = math.floor(math.log2(max(1.0, len(arrivals) / 3)))
    return 1 << max(3, min(most, math.ceil(math.log2(max(active, 1.0)))))


def _show(to: Console, table: Table, *, wide: bool = False) -> None:
    if wide:
        # As wide as it is: a terminal wraps it, a file has all of it.
        unbounded = Console(file=to.file, width=_UNBOUNDED, highlight=False)
        unbounded.print(table, width=unbounded.measure(table).maximum)
    else:
        to.print(table, width=_width(to))


def _width(to: Console) -> int:
    return min(to.width, console.MAX_WIDTH)
