"""What `agentrt calibrate` prints."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentrt.calibrate.document import Calibration
from agentrt.calibrate.fit import quality
from agentrt.calibrate.work import Kind
from agentrt.cli import console
from agentrt.replay.report.numbers import significant

_TITLES = {
    Kind.PREFILL: "prefill: to the first token",
    Kind.EXTEND: "prefill behind a cached prefix",
    Kind.DECODE: "decode: between two tokens",
    Kind.MIXED: "decode while a prompt comes (not fitted)",
}

#: Beyond this the model does not describe the engine.
_POOR = 0.15


def print_calibration(to: Console, calibration: Calibration) -> None:
    """The server, measured beside predicted, and the coefficients."""
    facts = calibration.facts
    to.print(Text.assemble(("MEASURED", "bold green"), "  ", (facts.title, "bold")))
    to.print(Text(f"{facts.engine} at {facts.url}; {calibration.seconds:.0f} s"), soft_wrap=True)
    to.print()
    width = min(to.width, console.MAX_WIDTH)
    to.print(_table(calibration), width=width)
    to.print()
    to.print(_coefficients(calibration), width=width)
    legend = (
        "A step takes fixed + KV token·(KV tokens that decode) + turn·(turns that decode) + for "
        "each prefilled token: token + position·(its position). Request: HTTP, tokenizer and "
        "queue, which are no part of a step and not in the profile. "
    )
    mixed = calibration.profile.mixed_steps
    legend += f"Prefill and decode {'share a step' if mixed else 'have steps of their own'}."
    to.print(Padding(Text(legend, style="dim"), (1, 0, 0, 0)), width=width)
    for note in _notes(calibration):
        to.print(Text.assemble(("note: ", "yellow"), note), width=width)


def _table(calibration: Calibration) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("measured ms", "predicted ms", "off", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    for kind, title in _TITLES.items():
        measured = calibration.of_kind(kind)
        if not measured:
            continue
        off = quality(calibration.fit, measured)
        summary = f"median {off.median:.1%}, worst {off.worst:.1%}"
        table.add_row(Text(title, style="bold"), "", "", "", "")
        for each in measured:
            error = calibration.fit.error(each)
            table.add_row(
                f"  {each.case}",
                significant(each.seconds * 1e3),
                significant(calibration.fit.predict(each.work) * 1e3),
                Text(f"{error:+.1%}", style="yellow" if abs(error) > _POOR else ""),
                str(len(each.samples_s)),
            )
        table.add_row(Text(f"  {summary}", style="dim"), "", "", "", "")
    return table


def _coefficients(calibration: Calibration) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(6):
        table.add_column(justify="right", no_wrap=True)
    profile = calibration.profile
    names = ("fixed", "KV token", "turn", "token", "position", "request")
    values = (
        f"{profile.base_ms:.4g} ms",
        f"{profile.decode_ns_per_kv_token:.4g} ns",
        f"{profile.decode_us_per_sequence:.4g} µs",
        f"{profile.prefill_us_per_token:.4g} µs",
        f"{profile.prefill_ns_per_token_and_position:.4g} ns",
        f"{calibration.fit.request_s * 1e3:.4g} ms",
    )
    table.add_row(*(Text(name, style="bold") for name in names))
    table.add_row(*values)
    return table


def _notes(calibration: Calibration) -> list[str]:
    notes = list(calibration.notes)
    fitted = [each for each in calibration.measurements if each.case.kind is not Kind.MIXED]
    off = quality(calibration.fit, fitted)
    if off.median > _POOR:
        notes.append(
            f"half of the predictions are off by more than {off.median:.0%}: was the server or the "
            "machine busy with something else? Simulations with this profile are not reliable."
        )
    return notes
