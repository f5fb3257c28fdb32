"""Puts the sections together into one HTML file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from agentrt.replay.atomic_file import atomic_file
from agentrt.replay.report.canvas import require_matplotlib
from agentrt.replay.report.completion import completion
from agentrt.replay.report.concurrency import concurrency
from agentrt.replay.report.content import ReportContent
from agentrt.replay.report.gpu_time import gpu_time
from agentrt.replay.report.headline import headline
from agentrt.replay.report.losses import losses
from agentrt.replay.report.markup import Html, join, tag
from agentrt.replay.report.numbers import count
from agentrt.replay.report.occupancy import occupancy
from agentrt.replay.report.predictions import predictions
from agentrt.replay.report.programs import programs
from agentrt.replay.report.reproduce import reproduce
from agentrt.replay.report.results import results
from agentrt.replay.report.view import Section, View

_SECTIONS = (
    headline,
    results,
    completion,
    concurrency,
    occupancy,
    programs,
    predictions,
    losses,
    gpu_time,
    reproduce,
)


def write_report(path: Path, content: ReportContent) -> None:
    """Write the report as one HTML file that needs no other. Equal content gives equal bytes.

    Args:
        path: the file, replaced only when the whole report is made.

    Raises:
        ReportUnavailable: matplotlib is not installed.
        SettingError: the file cannot be written.
    """
    require_matplotlib()
    page = _page(View(content))
    with atomic_file(path, what="report") as file:
        file.write(page.encode())


def _page(view: View) -> Html:
    sections = [make(view) for make in _SECTIONS]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", _title(view)),
        tag("style", Html(files(__package__).joinpath("report.css").read_text("utf-8"))),
    )
    main = [
        tag(
            "section",
            tag("h2", section.title, id=f"{section.slug}-title"),
            section.body,
            id=section.slug,
            aria_labelledby=f"{section.slug}-title",
        )
        for section in sections
    ]
    body = tag("body", _header(view, sections), tag("main", *main))
    return join(Html("<!doctype html>\n"), tag("html", head, body, lang="en"), Html("\n"))


def _title(view: View) -> str:
    files_ = view.content.document.get("workload", {}).get("files", [])
    what = ", ".join(Path(str(file)).name for file in files_) or "a workload"
    return f"{'SIMULATED replay' if view.simulated else 'Replay'} of {what}"


def _header(view: View, sections: list[Section]) -> Html:
    workload = view.content.document.get("workload", {})
    engine = view.content.document.get("engine", {})
    counted = {view.nouns: len(view.policies), **workload}
    facts = [
        f"{count(counted[what])} {what}"
        for what in (view.nouns, "programs", "turns")
        if counted.get(what) is not None
    ]
    if view.simulated:
        facts.append(f"simulated engine, profile {engine.get('profile', '–')}")
    else:
        facts.append(f"live, at {', '.join(view.urls.values()) or '–'}")
    links = [tag("li", tag("a", s.title, href=f"#{s.slug}")) for s in sections]
    return tag(
        "header",
        tag("p", "agentrt replay", class_="kicker"),
        tag("h1", _title(view)),
        tag("p", " · ".join(facts), class_="facts"),
        tag("nav", tag("ul", *links), aria_label="Sections"),
    )
