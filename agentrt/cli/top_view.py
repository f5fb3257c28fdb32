"""What `agentrt top` draws of an `EngineSnapshot`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentrt.cli import console
from agentrt.replay.formats.validation import counted
from agentrt.replay.report.numbers import percent, short, significant
from agentrt_engine.wire.programs import EngineSnapshot, ProgramAccount, ProgramRow, Totals

_STATES = {"running": "green", "preempted": "red", "waiting": "yellow", "paused": "cyan"}
_BAR = 56
#: Columns of the line of the bar that its figures take.
_FIGURES = 44
_PROGRAM_WIDTH = 22
_TOOL_WIDTH = 13
_DASH = "–"
#: Lines around the rows of programs: blank line, heading, what was left out.
_AROUND_ROWS = 3


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two snapshots.

    Attributes:
        hit_rate: of the prompts admitted meanwhile; None without any.
    """

    seconds: float
    hit_rate: float | None
    turns: int

    @classmethod
    def between(cls, before: EngineSnapshot | None, now: EngineSnapshot) -> Interval | None:
        """None without an earlier snapshot, or if the engine was started again since."""
        if before is None or now.uptime_s <= before.uptime_s:
            return None
        old, new = before.totals, now.totals
        prompts = new.prompt_tokens - old.prompt_tokens
        hits = new.hit_tokens - old.hit_tokens
        return cls(
            now.uptime_s - before.uptime_s,
            hits / prompts if prompts > 0 else None,
            new.turns - old.turns,
        )


def draw(
    url: str,
    snapshot: EngineSnapshot,
    *,
    interval: Interval | None = None,
    problem: str = "",
    width: int = console.MAX_WIDTH,
    height: int | None = None,
) -> RenderableType:
    """The whole view.

    Args:
        interval: since the snapshot before.
        problem: why the engine does not answer now, a few words; `snapshot` is the last it gave.
        height: lines there are; None for as many as it takes.
    """
    lines = [
        _title(url, snapshot),
        _memory(snapshot, min(_BAR, width - _FIGURES)),
        _load(snapshot, interval),
        *_totals(snapshot.totals),
    ]
    if problem:
        text = f"the engine does not answer ({printable(problem)}); trying again"
        lines.append(Text(text, style="bold red"))
    for line in lines:
        line.truncate(min(width, console.MAX_WIDTH), overflow="ellipsis")
    rows = sorted(snapshot.programs, key=_in_order)
    shown = rows if height is None else rows[: max(0, height - len(lines) - _AROUND_ROWS)]
    parts: list[RenderableType] = [*lines]
    if shown:
        parts += [Text(), _programs(shown)]
    left = sum(snapshot.states.values()) - len(shown)
    if left > 0:
        parts.append(Text(f"and {left:,} more: {_left_out(snapshot, shown)}", style="dim"))
    elif not rows:
        parts += [Text(), Text("no programs", style="dim")]
    return Group(*parts)


def _title(url: str, snapshot: EngineSnapshot) -> Text:
    return Text.assemble(
        ("agentrt top", "bold"), f"  {url}  policy ", (printable(snapshot.policy), "bold"),
        f"  up {duration(snapshot.uptime_s)}",
    )  # fmt: skip


def _memory(snapshot: EngineSnapshot, bar: int) -> Text:
    """A bar of the KV memory: running, leased, free."""
    capacity = max(1, snapshot.kv_tokens)
    leased, free = snapshot.leased_tokens, snapshot.free_tokens
    running = max(0, snapshot.kv_tokens - leased - free)
    cells = [round(bar * part / capacity) for part in (running, leased)]
    cells.append(max(0, bar - sum(cells)))
    text = Text("KV ")
    for number, character, style in zip(cells, "█▒·", ("green", "cyan", "dim"), strict=True):
        text.append(character * number, style)
    text.append(f" {short(running)} running", "green")
    text.append(f" {short(leased)} leased", "cyan")
    text.append(f" {short(free)} free")
    return text


def _load(snapshot: EngineSnapshot, interval: Interval | None) -> Text:
    totals = snapshot.totals
    text = Text(f"running {snapshot.running}/{snapshot.max_running}  waiting {snapshot.waiting}")
    whole = totals.hit_tokens / totals.prompt_tokens if totals.prompt_tokens else None
    text.append("  hit rate ")
    if interval is not None:
        text.append(f"{percent(interval.hit_rate)} now, ")
    text.append(f"{percent(whole)} in all")
    if interval is not None:
        text.append(f"  {interval.turns / interval.seconds:.2g} turns/s")
    text.append(f"  price {snapshot.price * 1e6:.3g} µs/token·s")
    return text


def _totals(totals: Totals) -> list[Text]:
    ended = f"{sum(totals.programs_ended.values()):,} ended{_split(totals.programs_ended)}"
    turns = f"{counted(totals.turns, 'turn')}, {totals.retractions:,} retracted"
    reclaimed = sum(totals.reclaimed_tokens.values())
    hints = f"hints {sum(totals.hints.values()):,}{_split(totals.hints)}"
    again = f"{totals.lost_tokens:,} prefilled again"
    granted = totals.leases.get("granted", 0)
    lines = [
        f"programs {totals.programs_started:,} started, {ended}; {turns}",
        f"reclaimed {reclaimed:,} tokens{_split(totals.reclaimed_tokens)}; {again}",
        f"{hints}; leases {granted:,}{_split(totals.leases, but='granted')}",
    ]
    if totals.pauses:
        actual, predicted, error = (
            each / totals.pauses
            for each in (totals.pause_s, totals.predicted_pause_s, totals.pause_error_s)
        )
        lines.append(
            f"pauses {totals.pauses:,}: mean {duration(actual)}, predicted {duration(predicted)}, "
            f"off by {duration(error)}"
        )
    return [Text(printable(line)) for line in lines]


def _split(counts: Mapping[str, int], *, but: str = "") -> str:
    """The largest first, in parentheses."""
    parts = sorted(counts.items(), key=lambda part: -part[1])
    listed = ", ".join(f"{name} {number:,}" for name, number in parts if number and name != but)
    return f" ({listed})" if listed else ""


def _programs(rows: Sequence[ProgramRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("program", no_wrap=True, max_width=_PROGRAM_WIDTH)
    table.add_column("state", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("turns", justify="right", no_wrap=True)
    table.add_column("tool", no_wrap=True, max_width=_TOOL_WIDTH)
    for heading in ("p50", "context", "held", "lease", "engine s", "lost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _cut(row.program_id, _PROGRAM_WIDTH),
            Text(printable(row.state), style=_STATES.get(row.state, "")),
            duration(row.state_s),
            f"{row.turns:,}",
            _cut(row.tool or "", _TOOL_WIDTH),
            _DASH if row.predicted_s is None else duration(row.predicted_s),
            short(row.context_tokens),
            short(row.held_tokens) if row.held_tokens else _DASH,
            _DASH if row.lease_s is None else duration(max(0.0, row.lease_s)),
            significant(_engine_s(row.account)),
            short(row.account.lost_tokens) if row.account.lost_tokens else _DASH,
        )
    return table


def _engine_s(account: ProgramAccount) -> float:
    return account.prefill_s + account.recompute_s + account.decode_s


def _left_out(snapshot: EngineSnapshot, shown: Sequence[ProgramRow]) -> str:
    left = Counter(snapshot.states)
    left.subtract(row.state for row in shown)
    return printable(", ".join(f"{number:,} {state}" for state, number in left.items() if number))


def _in_order(row: ProgramRow) -> tuple[int, int]:
    known = list(_STATES)
    return known.index(row.state) if row.state in known else len(known), row.arrival


def _cut(text: str, width: int) -> Text:
    """Its end is cut: programs of one client differ in it less often than in the beginning."""
    clean = printable(text)
    return Text(clean if len(clean) <= width else clean[: width - 1] + "…")


def printable(text: str) -> str:
    """What clients sent, without anything a terminal would obey."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def duration(seconds: float) -> str:
    """In six characters up to a hundred days: 0.4s, 37s, 5m07s, 3h12m, 4d03h."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
