"""Draws one panel with matplotlib and returns it as inline SVG.

A panel is about as wide as a phone, so that its text stays legible there; wide screens show
several side by side. All panels have the same margins, so their axes line up.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from agentrt.errors import ReportUnavailable
from agentrt.replay.report.markup import Html, visible
from agentrt.replay.report.numbers import short
from agentrt.replay.report.style import GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 400, 270
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 48, 12, 28, 40

_SETTINGS = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "agentrt",  # ids do not change from run to run
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],  # shipped with matplotlib: the same layout everywhere
    "font.size": 11.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8C959F",
    "axes.linewidth": 0.8,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": "#57606A",
    "ytick.color": "#57606A",
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "hatch.linewidth": 0.7,
    "path.simplify_threshold": 0.1,
}
#: What matplotlib may choose by itself where it runs, and a restored default would undo.
_KEPT = {"backend", "backend_fallback", "interactive"}
_DECIMALS = re.compile(r"(\.\d\d)\d+")
#: matplotlib up to 3.10 writes `font`, later `font-family`.
_FONT = re.compile(r"font: (?:\S+ )*?([\d.]+)px [^;]*|font-size: ([\d.]+)px; font-family: [^;]*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def draw(name: str, label: str, paint: Callable[[Figure], None], *, height: int = HEIGHT) -> Html:
    """An SVG of `WIDTH` times `height` units that scales with its place.

    Args:
        name: unique on the page; its ids start with it.
        label: what the picture shows, for those who cannot see it.
        paint: draws on an empty figure whose size in inches is the size in units / 72.

    Raises:
        ReportUnavailable: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    settings = {k: v for k, v in settings.items() if k not in _KEPT} | _SETTINGS
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        paint(figure)
        drawn = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return _inline(ElementTree.fromstring(drawn.getvalue()), name, label)


def require_matplotlib() -> None:
    """Find out whether panels can be drawn.

    Raises:
        ReportUnavailable: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ReportUnavailable(
            "the report needs matplotlib, which is not installed",
            hint="pip install 'agentrt[report]'",
        ) from error


def axes(
    figure: Figure,
    title: str,
    x_label: str,
    *,
    left: int = MARGIN_LEFT,
    top: int = MARGIN_TOP,
    bottom: int = MARGIN_BOTTOM,
) -> Axes:
    """The axes of a panel within its margins. The title above names what y is."""
    width, height = figure.get_size_inches() * 72
    across, up = 1 - (left + MARGIN_RIGHT) / width, 1 - (top + bottom) / height
    made = figure.add_axes((left / width, bottom / height, across, up))
    figure.text(4 / width, 1 - (top - 12) / height, title)
    made.set_xlabel(x_label)
    return made


def add_boxes(
    axes: Axes,
    boxes: list[tuple[float, float, float, float]],
    colour: str | tuple[float, float, float, float],
) -> None:
    """Fill boxes, given as left, bottom, right, top, in one colour.

    They are one path: thousands of separate ones would make the page heavy.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners: list[tuple[float, float]] = []
    for left, bottom, right, top in boxes:
        corners += [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    if boxes:
        path = Path(corners, codes * len(boxes))
        axes.add_patch(PathPatch(path, facecolor=colour, linewidth=0))


def short_ticks(axes: Axes, *names: str) -> None:
    """A few round ticks on the axes named x or y, with 5k for 5000."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for name in names:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def log_scale(axes: Axes, *names: str) -> None:
    """A logarithmic scale with ticks that are written out; a linear one for a narrow range."""
    from matplotlib.ticker import LogLocator, NullLocator

    short_ticks(axes, *names)
    for name in names:
        axis = axes.xaxis if name == "x" else axes.yaxis
        formatter = axis.get_major_formatter()
        low, high = axis.get_view_interval()
        # The interval of a linear axis reaches below zero where margins were added to it.
        low = low if low > 0 else axis.get_data_interval()[0]
        if high < 3 * low:
            continue
        axes.set(**{f"{name}scale": "log"})
        subs = (1.0,) if high / low > 3000 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(formatter)


def _inline(root: ElementTree.Element, name: str, label: str) -> Html:
    """Make matplotlib's file a part of a page: own ids, the page's font, short numbers."""
    wanted = _references(root)
    for parent in root.iter():
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.tail = None
        element.text = visible(element.text) if element.tag == "text" and element.text else None
        element.attrib = {
            _local(key): _attribute(_local(key), value, name)
            for key, value in element.attrib.items()
            if key != "id" or value in wanted
        }
    box = root.attrib["viewBox"]
    root.attrib = {"viewBox": box, "role": "img", "aria-label": visible(label)}
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _references(root: ElementTree.Element) -> set[str]:
    found: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if _local(key) == "href":
                found.add(value.removeprefix("#"))
            found.update(_REFERENCE.findall(value))
    return found


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key in ("d", "x", "y", "width", "height"):
        value = _DECIMALS.sub(r"\1", value)
    if key == "d":
        return " ".join(value.split())
    value = _FONT.sub(lambda found: f"font-size: {found[1] or found[2]}px", value)
    return _REFERENCE.sub(rf"url(#{name}-\1)", value)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
