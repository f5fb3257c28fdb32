"""What `agentrt replay` prints of simulated engines."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from agentrt.cli.result_table import (
    SLOWDOWNS,
    WIDE,
    WIDE_SIMULATED,
    columns,
    print_legend,
    print_note,
    print_sweep,
    result_table,
    show,
)
from agentrt.replay.comparison import Compared
from agentrt.replay.formats.validation import counted
from agentrt.replay.simulated_replay import SimulatedReplay
from agentrt_engine.lora_sharing import LoraSharing


def print_replay(to: Console, replay: SimulatedReplay, compared: Compared, *, wide: bool) -> None:
    """The heading, the table, the sweep and what is to be said about them."""
    _print_heading(to, replay)
    to.print()
    shown = [*columns(compared.rows[0]), *SLOWDOWNS]
    if wide:
        shown += [*WIDE, *WIDE_SIMULATED]
    show(to, result_table(compared.rows, shown), wide=wide)
    _print_legend(to, len(replay.lists), wide=wide)
    if compared.sweep:
        to.print()
        print_sweep(to, compared.sweep, _size(replay))
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
    if settings.adapters:
        number, modes = counted(settings.adapters, "LoRA adapter"), ", ".join(settings.lora_sharing)
        to.print(Text(f"{number} of rank {settings.lora_rank}; LoRA sharing {modes}"))
    lists = f"{counted(len(replay.lists[0]), 'program')} × {counted(len(replay.lists), 'seed')}"
    if settings.pause_cap_s is not None:
        lists += f"; pauses cut to {settings.pause_cap_s:g} s"
    to.print(Text(lists))


def _print_legend(to: Console, seeds: int, *, wide: bool) -> None:
    spread = " ± is half the range of the seeds' means." if seeds > 1 else ""
    over = " GPU seconds and counts are sums over all seeds." if wide else ""
    print_legend(
        to,
        "JCT: from a program's arrival to the end of its last turn. × first: mean JCT over that of "
        f"the first policy.{spread} Recomputed: tokens per new token. Per 1000 s: programs ended. "
        f"Slow: JCT over the time alone on the engine.{over}",
    )


def _size(replay: SimulatedReplay) -> str:
    lists = replay.comparison().sweep_lists
    return f"{counted(len(lists[0]), 'program')} × {counted(len(lists), 'seed')}"


def _print_notes(to: Console, replay: SimulatedReplay, compared: Compared) -> None:
    for note in _notes(replay, compared):
        print_note(to, note)
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
    if not replay.settings.adapters and replay.settings.lora_sharing != (LoraSharing.OFF,):
        notes.append(
            "no program of the trace has an adapter, so every mode of LoRA sharing is the same; "
            "--adapters N gives them some."
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
