"""What the sections of a report have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentrt.replay.report.content import ReportContent
from agentrt.replay.report.markup import Html, brief, join, tag
from agentrt.replay.report.style import (
    PolicyStyle,
    area_swatch,
    is_bound,
    line_swatch,
    policy_styles,
)
from agentrt_engine.outcome import RunOutcome, Timeline


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page. `slug` is its address on it."""

    slug: str
    title: str
    body: Html


@dataclass(frozen=True)  # without slots: cached properties keep their value in the instance
class View:
    """A report's content with what is derived from it once."""

    content: ReportContent

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the result, one per policy."""
        return list(self.content.document.get("rows", []))

    @cached_property
    def policies(self) -> list[str]:
        """Every policy that anything is known of, in the order of the table."""
        named = [str(row["policy"]) for row in self.rows]
        named += [run.policy for run in self.content.runs]
        named += [point.policy for point in self.content.sweep]
        return list(dict.fromkeys(named))

    @cached_property
    def styles(self) -> dict[str, PolicyStyle]:
        """How each policy is drawn."""
        return policy_styles(self.policies)

    @property
    def simulated(self) -> bool:
        """Whether no real engine ran."""
        return bool(self.content.document.get("engine", {}).get("kind") == "simulated")

    @property
    def noun(self) -> str:
        """What a row is of."""
        return "policy" if self.simulated else "engine"

    @property
    def nouns(self) -> str:
        """Several of them."""
        return "policies" if self.simulated else "engines"

    @property
    def urls(self) -> dict[str, str]:
        """Where live engines are, by the name of their row."""
        engine = self.content.document.get("engine", {})
        if url := engine.get("url"):
            return {"": str(url)}
        return {str(each["name"]): str(each["url"]) for each in engine.get("engines", [])}

    @cached_property
    def best(self) -> str | None:
        """The policy with the lowest mean job completion time; never a bound."""
        real = [row for row in self.rows if not is_bound(str(row["policy"]))]
        timed = [row for row in real if row.get("jct_mean_s") is not None]
        if not timed:
            return None
        return str(
            min(timed, key=lambda row: (bool(row.get("overloaded")), row["jct_mean_s"]))["policy"]
        )

    def runs(self, policy: str) -> list[RunOutcome]:
        """The runs of a policy, one per seed."""
        return [run for run in self.content.runs if run.policy == policy]

    def timelines(self) -> list[tuple[str, RunOutcome, Timeline]]:
        """Per policy the first run that has a timeline."""
        found: dict[str, tuple[str, RunOutcome, Timeline]] = {}
        for run in self.content.runs:
            if run.timeline is not None and run.policy not in found:
                found[run.policy] = (run.policy, run, run.timeline)
        return [found[policy] for policy in self.policies if policy in found]

    def name(self, policy: str) -> Html:
        """A policy with its line, for legends, tables and the headings of panels."""
        # A long name may break where its parameters begin.
        name, colon, parameters = brief(policy).partition(":")
        words = join(name, colon, Html("<wbr>"), parameters)
        return tag("span", line_swatch(self.styles[policy]), tag("bdi", words), class_="policy")

    def legend(self, policies: list[str]) -> Html:
        """Which line is which policy."""
        return tag("ul", *[tag("li", self.name(p)) for p in policies], class_="legend")

    def figure(self, panels: list[Html], caption: str, *, legend: Html | None = None) -> Html:
        """Panels side by side as room permits, with a caption that says how to read them."""
        many = len(panels) > 2
        explained = tag("figcaption", self.badge(), caption)
        drawn = tag("div", *panels, class_="panels")
        # Many panels fill more than a screen: how to read them is said before.
        parts = (explained, drawn) if many else (drawn, explained)
        kind = "long" if many else "short"
        return tag("figure", legend or Html(), *parts, class_=kind)

    def badge(self) -> Html:
        """Stands at every figure whose numbers are simulated."""
        return tag("span", "Simulated", class_="badge") if self.simulated else Html()

    def described(self, what: str) -> str:
        """The label of a picture, which says so if its numbers are simulated."""
        return f"Simulated. {what}" if self.simulated else what


def panel(drawing: Html, heading: Html | None = None, note: str = "") -> Html:
    """A drawing with a heading above and a note beside the heading."""
    title = Html()
    if heading is not None:
        title = tag("h3", heading, tag("small", note) if note else Html())
    return tag("div", title, drawing, class_="panel")


def areas_legend(colours: dict[str, str]) -> Html:
    """Which colour is what."""
    items = [tag("li", area_swatch(colour), name) for name, colour in colours.items()]
    return tag("ul", *items, class_="legend")


def table(
    headings: list[str], rows: list[list[str]], *caption: str, words: tuple[str, ...] = ()
) -> Html:
    """A table whose first cell in a row names it.

    Args:
        caption: what the table shows.
        words: headings of the columns that hold text, not numbers.
    """
    kinds = ["text" if heading in words else None for heading in headings]
    named = list(zip(headings, kinds, strict=True))
    head = tag("tr", *[tag("th", name, scope="col", class_=kind) for name, kind in named])
    body = [
        tag(
            "tr",
            tag("th", tag("bdi", row[0]), scope="row"),
            *[
                tag("td", tag("bdi", cell), class_=kind)
                for cell, kind in zip(row[1:], kinds[1:], strict=True)
            ],
        )
        for row in rows
    ]
    return scrolling(tag("table", tag("thead", head), tag("tbody", *body)), *caption)


def scrolling(table: Html, *caption: str) -> Html:
    """A table in a box that scrolls sideways by itself, over a caption that does not."""
    label = "".join(c for c in caption if not isinstance(c, Html))
    box = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)
    return tag("figure", box, tag("figcaption", *caption), class_="data")


def sentence(*parts: str) -> Html:
    """A paragraph."""
    return tag("p", join(*parts))
