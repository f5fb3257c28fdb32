"""What `agentrt replay` prints of live engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentrt.cli.result_table import (
    POLICY_WIDTH,
    WIDE,
    WIDE_LIVE,
    columns,
    name,
    print_legend,
    print_note,
    print_sweep,
    result_table,
    show,
)
from agentrt.replay.comparison import Compared
from agentrt.replay.formats.validation import counted
from agentrt.replay.live.facts import EngineFacts
from agentrt.replay.live.live_replay import LiveReplay, LiveResult
from agentrt.replay.report.numbers import fixed
from agentrt.replay.row import Row


def print_live_replay(to: Console, result: LiveResult, compared: Compared, *, wide: bool) -> None:
    """The heading, the tables and what is to be said about them."""
    replay, rows = result.replay, compared.rows
    _print_heading(to, replay)
    to.print()
    shown = columns(rows[0])
    if wide:
        shown += [*WIDE, *WIDE_LIVE]
    show(to, result_table(rows, shown, first="engine"), wide=wide)
    _print_legend(to, rows)
    if len(rows) > 1:
        to.print()
        show(to, _paired_table(rows))
        print_legend(
            to,
            "Ratios of runs of the same seed and repeat: their median and its 95 % bootstrap "
            "interval. Pairs in which a program failed are left out.",
        )
    if compared.sweep:
        to.print()
        lists = replay.sweep_rounds().lists
        size = f"{counted(len(lists[0]), 'program')} × {counted(len(lists), 'seed')}"
        print_sweep(to, compared.sweep, size)
    for note in result.notes():
        print_note(to, note)


def _print_heading(to: Console, replay: LiveReplay) -> None:
    settings = replay.settings
    files = ", ".join(path.name for path in replay.files)
    to.print(Text.assemble(("MEASURED", "bold green"), "  ", (files, "bold")), soft_wrap=True)
    for facts in replay.engines:
        to.print(Text(_described(facts)), soft_wrap=True)
    lists = f"{counted(len(replay.lists[0]), 'program')} × {counted(len(replay.lists), 'seed')}"
    if settings.repeats > 1:
        lists += f" × {counted(settings.repeats, 'repeat')}"
    parts = [replay.load.described(), lists]
    if settings.pause_cap_s is not None:
        parts.append(f"pauses cut to {settings.pause_cap_s:g} s")
    if settings.time_scale != 1:
        parts.append(f"pauses and arrivals × {settings.time_scale:g}")
    if settings.token_scale != 1:
        parts.append(f"tokens × {settings.token_scale:g}")
    to.print(Text("; ".join(parts)))


def _described(facts: EngineFacts) -> str:
    made = " ".join(filter(None, (facts.owner, facts.version)))
    parts = [facts.url, *([made] if made else []), facts.model]
    if facts.info is not None:
        parts.append(f"policy {facts.info.policy}")
    if facts.kv_tokens is not None:
        parts.append(f"{facts.kv_tokens:,} KV tokens")
    return f"{facts.name}: {', '.join(parts)}"


def _print_legend(to: Console, rows: Sequence[Row]) -> None:
    first = " × first: median ratio to the first engine." if len(rows) > 1 else ""
    runs = len(rows[0]["jct_seed_means_s"])
    spread = " ± is half the range of the runs' means." if runs > 1 else ""
    print_legend(
        to,
        "JCT: from a program's arrival to the end of its last turn, as the client saw it; TTFT "
        f"from when a turn was due.{first}{spread} Recomputed: tokens per new token. Per 1000 s: "
        "programs ended. There is no slowdown: nobody measured the programs alone.",
    )


def _paired_table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"× {rows[0]['policy']}", max_width=POLICY_WIDTH, overflow="fold")
    for heading in ("mean JCT", "95 %", "prefilled tokens", "95 %", "pairs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows[1:]:
        jct, prefilled = row["paired"]["jct_mean"], row["paired"]["prefilled_tokens"]
        table.add_row(
            name(str(row["policy"])),
            *_ratio(jct),
            *_ratio(prefilled),
            "0" if jct is None else str(jct["pairs"]),
        )
    return table


def _ratio(ratio: dict[str, Any] | None) -> tuple[str, str]:
    """The median and the interval."""
    if ratio is None:
        return "–", "–"
    interval = "–" if ratio["low"] is None else f"{ratio['low']:.3f} to {ratio['high']:.3f}"
    return fixed(ratio["median"], 3), interval
