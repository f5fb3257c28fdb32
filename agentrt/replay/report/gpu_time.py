"""Where the time of the GPU went, and which programs cost most."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING

from agentrt.replay.report.canvas import axes, draw, short_ticks
from agentrt.replay.report.markup import Html, brief
from agentrt.replay.report.numbers import count, significant
from agentrt.replay.report.style import DECODE, PREFILL, RECOMPUTE
from agentrt.replay.report.view import Section, View, areas_legend, panel, sentence, table
from agentrt_engine.outcome import Account, ProgramOutcome, RunOutcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Where GPU time went"
_HELD = "#8E7CC3"
_COLOURS = {"new prefill": PREFILL, "recompute": RECOMPUTE, "decode": DECODE}
_PARTS: dict[str, Callable[[Account], float]] = {
    "new prefill": lambda account: account.prefill_s,
    "recompute": lambda account: account.recompute_s,
    "decode": lambda account: account.decode_s,
}
_TOP = 10


def gpu_time(view: View) -> Section:
    """Bars per policy, and the account of the most expensive programs of the best one."""
    charged = [
        p for p in view.policies if any(cost(o) > 0 for r in view.runs(p) for o in r.programs)
    ]
    if not charged:
        nothing = sentence("No run kept an account of what its programs cost.")
        return Section("gpu-time", _TITLE, nothing)
    spent = {name: [_per_run(view, p, part) for p in charged] for name, part in _PARTS.items()}
    panels = [_panel(view, "gpu", "GPU-seconds per run", charged, spent, _COLOURS)]
    held = [_per_run(view, p, lambda account: account.held_price_s) for p in charged]
    legend = dict(_COLOURS)
    if any(held):
        name = "memory held while paused, at its price"
        legend[name] = _HELD
        panels.append(
            _panel(view, "held", "Price of memory held, GPU-seconds", charged, {name: held}, legend)
        )
    caption = (
        "First picture: the GPU-seconds of all programs of a run, mean over seeds. Recompute is "
        "prefill of tokens that had been in the cache and were evicted. "
    )
    if any(held):
        caption += (
            "Second: token-seconds of KV held by paused programs, at the price of memory at that "
            "time; what retention costs, beside what it saves."
        )
    figure = view.figure(panels, caption, legend=areas_legend(legend))
    policy = view.best if view.best in charged else charged[0]
    return Section("gpu-time", _TITLE, Html(figure + _accounts(view, policy, view.runs(policy)[0])))


def cost(program: ProgramOutcome) -> float:
    """GPU-seconds of a program, the memory it held apart."""
    return sum(part(program.account) for part in _PARTS.values())


def _per_run(view: View, policy: str, part: Callable[[Account], float]) -> float:
    return fmean(sum(part(o.account) for o in run.programs) for run in view.runs(policy))


def _panel(
    view: View,
    name: str,
    title: str,
    policies: list[str],
    parts: dict[str, list[float]],
    colours: dict[str, str],
) -> Html:
    def paint(figure: Figure) -> None:
        plot = axes(figure, title, "", left=112, bottom=24)
        start = [0.0] * len(policies)
        rows = range(len(policies))
        for part, values in parts.items():
            plot.barh(
                rows,
                values,
                left=start,
                height=0.66,
                color=colours[part],
                edgecolor="white",
                linewidth=0.6,
            )
            start = [a + b for a, b in zip(start, values, strict=True)]
        plot.set_yticks(list(rows), [_label(policy) for policy in policies])
        plot.set_ylim(len(policies) - 0.4, -0.6)
        plot.grid(visible=False, axis="y")
        plot.margins(x=0.04)
        short_ticks(plot, "x")

    label = view.described(f"{title}, per policy")
    return panel(draw(f"bars-{name}", label, paint, height=60 + 26 * len(policies)))


def _label(policy: str) -> str:
    """A policy as a tick: printable ASCII that fits the margin, parameters on their own line."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in policy)
    lines = [line if len(line) <= 17 else line[:16] + "…" for line in plain.split(":", 1)]
    return ":\n".join(lines)


def _accounts(view: View, policy: str, run: RunOutcome) -> Html:
    ranked = sorted(run.programs, key=lambda o: (-cost(o), o.program_id))
    rows = [_account(o) for o in ranked[:_TOP]]
    headings = [
        "program", "agent", "turns", "JCT, s", "GPU, s", "new prefill, s", "recompute, s",
        "decode, s", "memory held, GPU-s", "tokens lost",
    ]  # fmt: skip
    caption = f"The {count(len(rows))} programs that cost most under {policy}, seed {run.seed}."
    return table(headings, rows, view.badge(), caption, words=("agent",))


def _account(program: ProgramOutcome) -> list[str]:
    account = program.account
    return [
        brief(program.program_id),
        brief(program.agent),
        count(program.turns),
        significant(program.jct_s),
        significant(cost(program)),
        significant(account.prefill_s),
        significant(account.recompute_s),
        significant(account.decode_s),
        significant(account.held_price_s),
        count(program.lost_tokens),
    ]
