"""The report: what it says, that it is safe, small and the same every time, how it renders."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import ReportUnavailable, SettingError
from agentrt.replay.report import ReportContent, write_report
from agentrt.replay.report.completion import distribution
from agentrt.replay.report.losses import Loss, cells, to_juniors
from agentrt.replay.report.markup import Html, tag, visible
from agentrt.replay.report.numbers import significant
from agentrt.replay.report.occupancy import course
from agentrt.replay.report.programs import Bar, chosen, merged
from agentrt.replay.report.style import policy_styles
from agentrt_engine.outcome import Account, Activity, Occupancy, PauseRecord, RunOutcome, Timeline
from tests.support import outcomes

POLICIES = ["lru", "continuum:reading=strict", "guard", "infinite-kv"]
_VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """A parsed report: its text, its elements, and whether every element was closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.html = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._section = ""
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
            self.sections[self._section] = ""
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._section:
            self.sections[self._section] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def content(policies: list[str] = POLICIES, *, programs: int = 12) -> ReportContent:
    """A replay of two seeds, with the timelines of the first, and a sweep."""
    runs = [
        outcomes.run(policy, seed, programs=programs, timeline=seed == 1)
        for policy in policies
        for seed in (1, 2)
    ]
    return ReportContent(outcomes.document(runs), runs, outcomes.sweep(policies, [1, 2]))


def write(folder: Path, content: ReportContent) -> Page:
    path = folder / "report.html"
    write_report(path, content)
    return Page(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return write(tmp_path_factory.mktemp("report"), content())


# ---------------------------------------------------------------- structure


def test_the_sections_are_there_in_order(page: Page) -> None:
    assert list(page.sections) == [
        "summary",
        "results",
        "completion",
        "load",
        "memory",
        "programs",
        "predictions",
        "losses",
        "gpu-time",
        "settings",
    ]


def test_the_file_needs_no_other(page: Page) -> None:
    assert not {"script", "link", "img", "iframe", "object", "image"} & {
        n for n, _ in page.elements
    }
    assert "@import" not in page.html
    assert "src=" not in page.html
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", page.html))
    assert all((a["href"] or "").startswith("#") for _, a in page.elements if "href" in a)


def test_ids_are_unique_and_every_reference_has_its_target(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', page.html)
    assert {a or b for a, b in references} <= set(ids)


def test_pictures_and_tables_can_be_read_without_seeing_them(page: Page) -> None:
    pictures = [svg for svg in page.all("svg") if svg.get("class") is None]
    assert len(pictures) == 2 + 2 + 4 + 4 + 2 + 3 + 2
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    assert len({svg["aria-label"] for svg in pictures}) == len(pictures)
    assert all("scope" in th for th in page.all("th"))
    assert len(page.all("figure")) == len(page.all("figcaption"))


def test_text_in_pictures_is_text(page: Page) -> None:
    assert "Job completion time, seconds" in page.sections["completion"]
    assert "DejaVu" not in page.html


# ------------------------------------------------------------- what it says


def test_simulated_numbers_say_so_everywhere(page: Page) -> None:
    title = re.search("<title>(.*?)</title>", page.html)
    assert title and title[1] == "SIMULATED replay of coding.jsonl.gz"
    assert "None was measured on a GPU" in page.sections["summary"]
    badges = [a for a in page.all("span") if a.get("class") == "badge"]
    assert len(badges) == len(page.all("figure")) - 1  # the table of settings is not a result
    pictures = [svg for svg in page.all("svg") if svg.get("class") is None]
    assert all((svg["aria-label"] or "").startswith("Simulated. ") for svg in pictures)


def test_measured_numbers_do_not(tmp_path: Path) -> None:
    made = content(["lru", "guard"])
    live = replace(made, document=outcomes.document(made.runs, kind="live"))
    page = write(tmp_path, live)
    assert "simulated" not in page.html.lower()
    assert "Measured on the live engine at http://gpu:30000." in page.sections["summary"]


def row(policy: str, mean_s: float, **others: object) -> dict[str, Any]:
    return {"policy": policy, "seeds": [1, 2], "jct_mean_s": mean_s, "programs": 20, **others}


def replayed(folder: Path, *rows: dict[str, Any]) -> Page:
    document = outcomes.document([]) | {"rows": list(rows)}
    return write(folder, ReportContent(document, [], []))


def test_the_summary_compares_the_best_policy_with_the_first(tmp_path: Path) -> None:
    page = replayed(
        tmp_path,
        row("lru", 400.0, slowdown_p99=30.0, recomputed_per_new=3.5),
        row("guard", 200.0, slowdown_p99=6.0, recomputed_per_new=0.25),
        row("infinite-kv", 160.0),
    )
    summary = page.sections["summary"]
    assert "guard has the lowest mean job completion time: 200 s, which is 0.50 times" in summary
    assert "at least 6.00 times its time alone on the engine under guard, 30.0 times" in summary
    assert "lru prefills 3.50 tokens that had been in the cache, guard 0.250" in summary
    assert "infinite-kv, out of reach of engines, has a mean of 160 s; guard takes 1.25" in summary
    assert "No policy is overloaded" in summary


def test_an_overloaded_policy_is_named_and_never_called_best(tmp_path: Path) -> None:
    page = replayed(tmp_path, row("lru", 100.0, overloaded=True), row("guard", 200.0))
    assert "Overloaded: lru. The backlog was still growing" in page.sections["summary"]
    assert (
        "guard has the lowest mean job completion time of the policies that keep up: 200 s"
        in (page.sections["summary"])
    )
    assert "overloaded" in page.sections["results"]


def test_the_summary_tells_the_cliff_from_its_absence(page: Page) -> None:
    found = re.search(
        r"With 64 programs active, guard ends most, .* per 1,000 s, 100\s% of its best throughput "
        r"at any number; lru is at (\d+)\.\d\s% of its best\.",
        page.sections["summary"],
    )
    assert found and int(found[1]) < 60


def test_the_table_marks_the_best_real_policy_and_shows_the_spread(tmp_path: Path) -> None:
    page = replayed(
        tmp_path,
        row("lru", 400.0, jct_seed_means_s=[380.0, 420.0], hit_rate=0.1),
        row("guard", 200.0, jct_seed_means_s=[198.0, 202.0], hit_rate=0.9),
        row("oracle-retention", 150.0, hit_rate=1.0),
    )
    assert re.findall("<strong>(.*?)</strong>", page.html) == ["200", "0.50", "90.0\u00a0%"]
    assert "380–420" in page.sections["results"]


def test_a_policy_has_one_style_and_bounds_are_dashed() -> None:
    policies = [f"policy-{i}" for i in range(30)] + ["oracle-pauses", "infinite-kv"]
    styles = policy_styles(policies)
    assert len(set(styles.values())) == len(policies)
    assert [p for p in policies if styles[p].dash] == ["oracle-pauses", "infinite-kv"]


def test_the_command_repeats_the_replay(page: Page) -> None:
    command = page.sections["settings"].partition("To repeat it")[2]
    words = command.replace("\\\n", " ").split()
    assert words[:3] == ["agentrt", "replay", "traces/coding.jsonl.gz"]
    assert words[words.index("--policy") + 1] == ",".join(POLICIES)
    assert words[words.index("--kv-tokens") + 1] == "400000"
    assert words[words.index("--seed") + 1] == "1,2"


# ------------------------------------------------------------- what is missing


def without_timelines(made: ReportContent) -> ReportContent:
    for run in made.runs:
        run.timeline = None
    return made


def without_programs(made: ReportContent) -> ReportContent:
    return replace(made, runs=[])


def without_sweep(made: ReportContent) -> ReportContent:
    return replace(made, sweep=[])


def without_accounts(made: ReportContent) -> ReportContent:
    for run in made.runs:
        for program in run.programs:
            program.account = Account()
    return made


def without_rows(made: ReportContent) -> ReportContent:
    return ReportContent(made.document | {"rows": []}, [], [])


@pytest.mark.parametrize(
    ("take", "section", "says"),
    [
        (without_sweep, "load", "agentrt replay … --sweep"),
        (without_timelines, "memory", "No run recorded what its KV memory held."),
        (without_timelines, "programs", "No run recorded what its programs did."),
        (without_timelines, "predictions", "No run recorded predictions of tool durations."),
        (without_accounts, "losses", "No run recorded that a program lost KV to another."),
        (without_accounts, "gpu-time", "No run kept an account of what its programs cost."),
        (without_programs, "completion", "No run of single programs is in this result"),
        (without_rows, "summary", "no policy was replayed"),
        (without_rows, "results", "No policy was replayed."),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    tmp_path: Path,
    take: Callable[[ReportContent], ReportContent],
    section: str,
    says: str,
) -> None:
    page = write(tmp_path, take(content(["lru", "guard"], programs=3)))
    assert says in page.sections[section]


def test_a_single_program_of_a_single_turn_is_enough(tmp_path: Path) -> None:
    run = outcomes.run("guard", 1, programs=1)
    page = write(tmp_path, ReportContent(outcomes.document([run]), [run], []))
    assert "1 of 1, the same under every policy" in page.sections["programs"]


def test_programs_that_never_ended_are_counted(tmp_path: Path) -> None:
    made = content(["lru"])
    for program in made.runs[0].programs[:5]:
        program.end_s = None
    assert "5 programs never ended" in write(tmp_path, made).sections["completion"]


# ------------------------------------------------------------------- hostile

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{0}$ ]]> &amp; --> </style></svg>",
    "\x00\x1b[31m\r\n\u202eright to left\u2069 \ud800",
    "名前 🙂 ключ",
    "x" * 5000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_outside_are_only_ever_text(tmp_path: Path, name: str) -> None:
    made = content(["lru", "guard", name])
    for run in made.runs:
        for program in run.programs:
            program.account.lost_to = {
                f"{name} {other}": tokens for other, tokens in program.account.lost_to.items()
            }
            program.program_id, program.agent = f"{name} {program.program_id}", name
        if run.timeline is not None:
            run.timeline.pauses.append(PauseRecord(name, 1.0, 1.0, 2.0))
    made.document["workload"]["files"] = [name]
    made.document["settings"][name] = name
    made.document["engine"]["profile"] = name
    page = write(tmp_path, made)
    plain = write(tmp_path, content(["lru", "guard", "thunder"]))
    assert {n for n, _ in page.elements} == {n for n, _ in plain.elements}
    assert {k for _, a in page.elements for k in a} == {k for _, a in plain.elements for k in a}
    assert visible(name)[:40] in page.text
    assert len(page.html) < 2 * len(plain.html)


@given(st.text(alphabet=st.characters()), st.text(alphabet=st.characters()))
def test_any_text_survives_as_child_and_as_attribute(child: str, attribute: str) -> None:
    page = Page(tag("p", child, title=attribute))
    assert page.text == visible(child)
    assert page.all("p") == [{"title": visible(attribute)}]
    page.html.encode()  # no lone surrogate is left


def test_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "a < b"), Html("<br>")) == "<p><b>a &lt; b</b><br></p>"


# ------------------------------------------------------------------- the file


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_report(tmp_path / "here.html", content(["lru", "guard"], programs=6))
    program = (
        "import sys; from pathlib import Path; from tests.replay.test_report import content;"
        "from agentrt.replay.report import write_report;"
        "write_report(Path(sys.argv[1]), content(['lru', 'guard'], programs=6))"
    )
    there = tmp_path / "there.html"
    path = os.pathsep.join(word for word in sys.path if word)
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program, str(there)], check=True, env=environment)
    assert (tmp_path / "here.html").read_bytes() == there.read_bytes()


def test_a_file_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(SettingError, match="cannot write the report ") as found:
        write_report(tmp_path / "taken" / "report.html", without_rows(content(["lru"])))
    assert found.value.hint


def test_without_matplotlib_the_hint_is_to_install_it_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ReportUnavailable, match="matplotlib") as found:
        write_report(tmp_path / "report.html", content(["lru"], programs=2))
    assert found.value.hint == "pip install 'agentrt[report]'"
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_imported_without_matplotlib_and_numpy() -> None:
    program = (
        "import sys; import agentrt.replay.report, agentrt.replay.chrome_trace;"
        "assert not {'matplotlib', 'numpy'} & set(sys.modules)"
    )
    path = os.pathsep.join(word for word in sys.path if word)
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_a_long_run_makes_a_small_file(tmp_path: Path) -> None:
    runs = [outcomes.run(policy, 1, programs=2000) for policy in ("lru", "guard")]
    assert sum(len(run.timeline.occupancy) for run in runs if run.timeline) > 100_000
    write_report(tmp_path / "report.html", ReportContent(outcomes.document(runs), runs, []))
    assert (tmp_path / "report.html").stat().st_size < 700_000


# ---------------------------------------------------------------- the figures


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=2000), st.integers(0, 50))
def test_a_distribution_has_few_points_and_rises_to_its_share(
    values: list[float], unfinished: int
) -> None:
    times, shares = distribution(values, len(values) + unfinished)
    assert len(times) == len(shares) <= 302
    assert times == sorted(times)
    assert shares == sorted(shares)
    assert (times[0], times[-1]) == (min(values), max(values))
    assert shares[-1] == len(values) / (len(values) + unfinished)


@given(st.lists(st.tuples(st.floats(0.001, 9.0), st.integers(0, 100)), min_size=2, max_size=500))
def test_the_course_of_memory_adds_up_to_the_capacity(steps: list[tuple[float, int]]) -> None:
    samples, time_s = [], 0.0
    for gap_s, running in steps:
        samples.append(Occupancy(time_s, running, 20, 30, 150 - running, 1, 2))
        time_s += gap_s
    found = course(samples)
    total = sum(found.means[kind] for kind in ("running", "leased", "cached", "free"))
    assert total == pytest.approx([200.0] * len(total))
    assert len(total) <= 200
    spent = sum(s.running * gap_s for s, (gap_s, _) in zip(samples[:-1], steps, strict=False))
    assert found.means["running"].mean() * samples[-1].time_s == pytest.approx(spent, abs=1e-6)


def test_bars_too_many_to_see_are_merged_into_what_took_longest() -> None:
    bars = [
        Bar(row, kind, step + start, step + end)
        for row in range(40)
        for step in range(300)
        for kind, start, end in (("decode", 0.0, 0.2), ("tool", 0.2, 1.0))
    ]
    few = merged(bars, 300.0)
    assert 40 <= len(few) <= 4000
    assert sum(bar.end_s - bar.start_s for bar in few) == pytest.approx(40 * 300.0, rel=0.01)
    assert merged(bars[:50], 300.0) == bars[:50]


def test_the_programs_shown_are_consecutive_by_arrival() -> None:
    run = outcomes.run("lru", 1, programs=100, timeline=False)
    run.programs.reverse()
    assert chosen(run, 30) == {f"program-{30 + row:04}": row for row in range(40)}


def test_losses_are_counted_by_seniority() -> None:
    found = [Loss(0, 5, 30), Loss(5, 0, 60), Loss(3, None, 1000), Loss(1, 2, 10)]
    assert to_juniors(found) == 0.4
    assert to_juniors([Loss(3, None, 1000)]) is None
    assert cells(found, 6) == {(5, 0): 30, (0, 5): 60, (2, 1): 10}
    assert cells([Loss(0, 99, 5), Loss(1, 97, 6)], 100) == {(23, 0): 11}


@given(st.floats(allow_nan=True))
def test_numbers_have_no_exponent(value: float) -> None:
    assert "e" not in significant(value)


def test_the_pause_of_an_evicted_program_is_split_in_the_picture(tmp_path: Path) -> None:
    run = outcomes.run("lru", 1, programs=3)
    assert run.timeline is not None
    pauses = [s for s in run.timeline.segments if s.activity is Activity.TOOL]
    kept = replace(run, timeline=Timeline([replace(s, evicted_s=None) for s in pauses]))
    lost = replace(run, timeline=Timeline([replace(s, evicted_s=s.start_s) for s in pauses]))
    assert not reds(tmp_path, kept)
    assert reds(tmp_path, lost)


def reds(folder: Path, run: RunOutcome) -> int:
    """How many areas of the timeline have the colour of evicted pauses."""
    page = write(folder, ReportContent({}, [run], []))
    timeline = page.html.partition('id="programs"')[2].partition('id="predictions"')[0]
    return timeline.count("fill: #d55e00")


# ---------------------------------------------------------------- in a browser

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browser = pytest.mark.skipif(_CHROMIUM is None, reason="chromium is not installed")


def chromium(folder: Path, page: Path, *options: str) -> str:
    """Run headless Chromium on a file; returns what it printed."""
    command = [
        str(_CHROMIUM),
        "--headless",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        *options,
        page.as_uri(),
    ]
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # Chromium refuses to run as root with one
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def file(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rendered") / "report.html"
    path.write_text(page.html, "utf-8")
    return path


#: Window and content width; how many pictures leave the window, and texts their picture.
_MEASURE = """<script>
const out = (inner, outer) =>
  inner.left < outer.left - 1 || inner.right > outer.right + 1 ||
  inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
const box = element => element.getBoundingClientRect();
const all = selector => [...document.querySelectorAll(selector)];
parent.document.title = [
  innerWidth,
  document.documentElement.scrollWidth,
  all(".panel > svg").filter(svg => box(svg).right > innerWidth).length,
  all(".panel text").filter(text => out(box(text), box(text.closest("svg")))).length,
].join(" ");
</script>"""


@browser
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(tmp_path: Path, file: Path, width: int) -> None:
    # In a frame, because a window has a least width of its own.
    framed = html.escape(file.read_text("utf-8").replace("</body>", f"{_MEASURE}</body>"))
    probe = tmp_path / "probe.html"
    probe.write_text(
        f'<!doctype html><meta charset="utf-8"><title></title>'
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{framed}"></iframe>',
        "utf-8",
    )
    dom = chromium(tmp_path, probe, "--virtual-time-budget=5000", "--dump-dom")
    found = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", dom)
    assert found
    window, content_width, wide, clipped = map(int, found.groups())
    assert window == width
    assert content_width <= width
    assert (wide, clipped) == (0, 0)


@browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_picture_of_the_page_is_not_blank(tmp_path: Path, file: Path, width: int) -> None:
    from matplotlib.image import imread

    picture = tmp_path / "page.png"
    chromium(tmp_path, file, f"--window-size={width},3000", f"--screenshot={picture}")
    pixels = imread(picture)
    assert pixels.shape[:2] == (3000, width)
    # Each of five strips of the page shows something.
    assert all(pixels[top : top + 600].std() > 0.02 for top in range(0, 3000, 600))


@browser
def test_the_page_prints(tmp_path: Path, file: Path) -> None:
    printed = tmp_path / "page.pdf"
    chromium(tmp_path, file, f"--print-to-pdf={printed}")
    found = printed.read_bytes()
    assert found.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", found)) <= 15
