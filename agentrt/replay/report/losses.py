"""Whose KV was evicted for whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentrt.replay.report.canvas import axes, draw
from agentrt.replay.report.markup import Html, brief
from agentrt.replay.report.numbers import count, percent, words
from agentrt.replay.report.style import GRID
from agentrt.replay.report.view import Section, View, panel, sentence, table
from agentrt_engine.outcome import RunOutcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Who lost tokens to whom"
_CELLS = 24
_TOP = 10
_HEIGHT = 300


@dataclass(frozen=True, slots=True)
class Loss:
    """Tokens of one program that were evicted for the benefit of another.

    Attributes:
        victim: its rank by arrival, from 0.
        beneficiary: likewise; None if it is not a program of the run.
    """

    victim: int
    beneficiary: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class LossMap:
    """The losses under one policy.

    Attributes:
        run: the first run that has any; the picture shows it.
        cells: tokens by group of beneficiaries and of victims in that run.
        tokens: lost in all runs.
        to_juniors: share of them that went to programs which arrived later than their loser;
            None if no beneficiary is known.
    """

    policy: str
    run: RunOutcome
    cells: dict[tuple[int, int], int]
    tokens: int
    to_juniors: float | None


def losses(view: View) -> Section:
    """A map of victims and beneficiaries per policy, and the programs that lost most."""
    maps = [found for policy in view.policies if (found := _map(policy, view.runs(policy)))]
    if not maps:
        nothing = sentence("No run recorded that a program lost KV to another.")
        return Section("losses", _TITLE, nothing)
    largest = max(tokens for found in maps for tokens in found.cells.values())
    panels = [_panel(view, i, found, largest) for i, found in enumerate(maps)]
    caption = (
        "Programs by arrival: who lost KV upward, who gained by it to the right; the darker, the "
        "more tokens, with one scale for all policies. Right of the line the gain went to a "
        "program that arrived later. One seed; the sums above each picture are over all seeds."
    )
    figure = view.figure(panels, caption)
    spared = [p for p in view.policies if view.runs(p) and not _lost(view.runs(p))]
    note = sentence(f"No tokens were lost under {words(spared)}.") if spared else Html()
    worst = max(maps, key=lambda found: (found.tokens, found.policy))
    return Section("losses", _TITLE, Html(figure + note + _ranking(view, worst)))


def _map(policy: str, runs: list[RunOutcome]) -> LossMap | None:
    by_run = [(run, _losses(run)) for run in runs]
    lossy = [(run, found) for run, found in by_run if found]
    if not lossy:
        return None
    run, first = lossy[0]
    every = [loss for _, found in lossy for loss in found]
    total = sum(loss.tokens for loss in every)
    return LossMap(policy, run, cells(first, len(run.programs)), total, to_juniors(every))


def _lost(runs: list[RunOutcome]) -> int:
    return sum(program.lost_tokens for run in runs for program in run.programs)


def by_arrival(run: RunOutcome) -> dict[str, int]:
    """Rank by arrival of each program."""
    order = sorted(range(len(run.programs)), key=lambda i: (run.programs[i].arrival_s, i))
    return {run.programs[i].program_id: rank for rank, i in enumerate(order)}


def _losses(run: RunOutcome) -> list[Loss]:
    ranks = by_arrival(run)
    return [
        Loss(ranks[program.program_id], ranks.get(other), tokens)
        for program in run.programs
        for other, tokens in program.account.lost_to.items()
        if tokens > 0
    ]


def to_juniors(found: list[Loss]) -> float | None:
    """Share of the lost tokens that went to programs which arrived later than their loser."""
    known = [loss for loss in found if loss.beneficiary is not None]
    total = sum(loss.tokens for loss in known)
    if not total:
        return None
    return sum(x.tokens for x in known if (x.beneficiary or 0) > x.victim) / total


def cells(found: list[Loss], programs: int) -> dict[tuple[int, int], int]:
    """Tokens by beneficiary and victim, programs put together into at most `_CELLS` groups."""
    groups = min(programs, _CELLS)
    tokens: dict[tuple[int, int], int] = {}
    for loss in found:
        if loss.beneficiary is not None:
            at = loss.beneficiary * groups // programs, loss.victim * groups // programs
            tokens[at] = tokens.get(at, 0) + loss.tokens
    return tokens or {(0, 0): 0}  # every beneficiary is unknown


def _panel(view: View, index: int, found: LossMap, largest: int) -> Html:
    programs = len(found.run.programs)
    width = programs / min(programs, _CELLS)

    def paint(figure: Figure) -> None:
        from matplotlib.collections import PolyCollection

        plot = axes(figure, "Lost by program", "Gained by program, in order of arrival")
        squares, shades = [], []
        for (gained, lost), number in sorted(found.cells.items()):
            left, bottom = gained * width, lost * width
            right, top = left + width, bottom + width
            squares.append([(left, bottom), (right, bottom), (right, top), (left, top)])
            # The square root keeps small losses visible beside large ones.
            shades.append((0.835, 0.369, 0.0, round((number / max(largest, 1)) ** 0.5, 2)))
        plot.add_collection(PolyCollection(squares, facecolors=shades, linewidths=0))
        plot.plot([0, programs], [0, programs], color="#57606A", linewidth=1.0)
        plot.set_xlim(0, programs)
        plot.set_ylim(0, programs)
        plot.grid(color=GRID)

    note = f"{count(found.tokens)} tokens lost"
    if found.to_juniors is not None:
        note += f", {percent(found.to_juniors)} to later ones"
    shown = f"Tokens lost and gained under {found.policy}, by arrival of the programs"
    drawing = draw(f"losses{index}", view.described(shown), paint, height=_HEIGHT)
    return panel(drawing, view.name(found.policy), note)


def _ranking(view: View, found: LossMap) -> Html:
    """The programs that lost most in the run of the picture."""
    run = found.run
    ranks = by_arrival(run)
    losers = [p for p in run.programs if any(p.account.lost_to.values())]
    losers.sort(key=lambda p: (-sum(p.account.lost_to.values()), p.program_id))
    rows = [
        [brief(p.program_id), brief(p.agent), *_gainers(p.program_id, p.account.lost_to, ranks)]
        for p in losers[:_TOP]
    ]
    if rest := losers[_TOP:]:
        lost = sum(tokens for p in rest for tokens in p.account.lost_to.values())
        rows.append([f"{count(len(rest))} other programs", "", count(lost), "", "", ""])
    headings = [
        "program", "agent", "tokens lost", "most of them to", "that one's share", "to later ones",
    ]  # fmt: skip
    caption = f"The programs that lost most under {found.policy}, seed {run.seed}."
    return table(headings, rows, view.badge(), caption, words=("agent", "most of them to"))


def _gainers(victim: str, lost_to: dict[str, int], ranks: dict[str, int]) -> Iterator[str]:
    total = sum(lost_to.values())
    main = max(lost_to, key=lambda other: (lost_to[other], other))
    later = sum(t for other, t in lost_to.items() if ranks.get(other, -1) > ranks[victim])
    yield count(total)
    yield brief(main)
    yield percent(lost_to[main] / total)
    yield percent(later / total)
