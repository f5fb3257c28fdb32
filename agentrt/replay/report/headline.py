"""The sentences at the top: what the figures below come to."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from agentrt.replay.report.markup import Html, brief, tag
from agentrt.replay.report.numbers import count, fixed, percent, significant, words
from agentrt.replay.report.style import is_bound
from agentrt.replay.report.view import Section, View


def headline(view: View) -> Section:
    """What a reader should take away, computed from the rows."""
    found = [tag("li", *parts) for parts in _sentences(view)]
    if not view.rows:
        found = [tag("li", "The result has no rows: no policy was replayed.")]
    return Section("summary", "Summary", tag("ul", *found, class_="findings"))


def _sentences(view: View) -> Iterator[list[str]]:
    yield [_source(view)]
    yield from _overload(view)
    row = next((r for r in view.rows if r["policy"] == view.best), None)
    if row is not None:
        yield _mean(view, row)
        yield from _tail(view, row)
        yield from _recomputed(view, row)
        yield from _bounds(view, row)
    yield from _cliff(view)
    yield from ([str(note)] for note in view.content.document.get("notes", []))
    excluded = max((int(r.get("excluded") or 0) for r in view.rows), default=0)
    if excluded and view.simulated:
        yield [
            f"{count(excluded)} programs were left out: a turn of theirs alone exceeds the memory."
        ]


def _source(view: View) -> str:
    engine = view.content.document.get("engine", {})
    if view.simulated:
        return (
            "Every number here is simulated: the policies ran on an engine in virtual time with the"
            f" cost profile {engine.get('profile', 'not named')}. None was measured on a GPU."
        )
    urls = view.urls
    if len(urls) > 1:
        named = words([f"{name} at {url}" for name, url in urls.items()])
        return f"Measured on live engines, with the times that their client saw: {named}."
    return f"Measured on the live engine at {next(iter(urls.values()), 'an address not named')}."


def _mean(view: View, row: dict[str, Any]) -> list[str]:
    first = view.rows[0]
    mean = f"{significant(row['jct_mean_s'])} s"
    if len(view.rows) == 1:
        return ["Under ", _name(row), f" a program takes {mean} on average."]
    lead = " has the lowest mean job completion time"
    if any(r.get("overloaded") for r in view.rows) and not row.get("overloaded"):
        lead += f" of the {view.nouns} that keep up"
    if row is first or not first.get("jct_mean_s"):
        return [_name(row), f"{lead}: {mean}."]
    return [
        _name(row),
        f"{lead}: {mean}, which is {fixed(row['jct_mean_s'] / first['jct_mean_s'], 2)} times the ",
        f"{significant(first['jct_mean_s'])} s of ",
        _name(first),
        f", the first {view.noun}.",
    ]


def _tail(view: View, row: dict[str, Any]) -> Iterator[list[str]]:
    first = view.rows[0]
    if row.get("slowdown_p99") is None:
        return
    parts = [
        "One program in 100 takes at least ",
        f"{significant(row['slowdown_p99'])} times its time alone on the engine under ",
        _name(row),
    ]
    if row is not first and first.get("slowdown_p99") is not None:
        parts += [f", {significant(first['slowdown_p99'])} times under ", _name(first)]
    yield [*parts, "."]


def _recomputed(view: View, row: dict[str, Any]) -> Iterator[list[str]]:
    first = view.rows[0]
    if row is first or None in (row.get("recomputed_per_new"), first.get("recomputed_per_new")):
        return
    yield [
        "For each new token, ",
        _name(first),
        f" prefills {significant(first['recomputed_per_new'])} tokens that had been in the cache, ",
        _name(row),
        f" {significant(row['recomputed_per_new'])}.",
    ]


def _bounds(view: View, row: dict[str, Any]) -> Iterator[list[str]]:
    for bound in view.rows:
        if is_bound(bound["policy"]) and bound.get("jct_mean_s"):
            ratio = fixed(row["jct_mean_s"] / bound["jct_mean_s"], 2)
            yield [
                "The bound ",
                _name(bound),
                f", out of reach of engines, has a mean of {significant(bound['jct_mean_s'])} s; ",
                _name(row),
                f" takes {ratio} times that.",
            ]


def _overload(view: View) -> Iterator[list[str]]:
    over = [row for row in view.rows if row.get("overloaded")]
    if over:
        yield [
            tag("strong", "Overloaded: "),
            _listed(over),
            ". The backlog was still growing at the end, so mean times depend on the length of ",
            "the run; compare throughput at a fixed number of programs instead.",
        ]
    elif view.rows:
        yield [f"No {view.noun} is overloaded: no backlog was growing at the end."]


def _cliff(view: View) -> Iterator[list[str]]:
    """What is left of the throughput of each policy at the largest concurrency."""
    points = [p for p in view.content.sweep if p.throughput_per_1000_s and not is_bound(p.policy)]
    largest = max((point.concurrency for point in points), default=0)
    last = {p.policy: fmean(p.throughput_per_1000_s) for p in points if p.concurrency == largest}
    kept = {
        policy: rate / best
        for policy, rate in last.items()
        if (best := max(fmean(p.throughput_per_1000_s) for p in points if p.policy == policy))
    }
    if not kept:
        return
    least, most = min(kept, key=kept.__getitem__), max(kept, key=last.__getitem__)
    yield [
        f"With {largest} programs active, ",
        _bold(most),
        f" ends most, {significant(last[most])} per 1,000 s, {percent(kept[most])} of its best ",
        "throughput at any number",
        *(
            ["; ", _bold(least), f" is at {percent(kept[least])} of its best"]
            if least != most
            else []
        ),
        ".",
    ]


def _listed(rows: list[dict[str, Any]]) -> Html:
    # `words` joins text; the names are markup by then, so the result is markup too.
    return Html(words([_name(row) for row in rows]))


def _name(row: dict[str, Any]) -> Html:
    return _bold(str(row["policy"]))


def _bold(policy: str) -> Html:
    return tag("b", tag("bdi", brief(policy)))
