"""Colours, line styles and marks: the same for a policy wherever it is shown.

The colours are those of Okabe and Ito (2008) and of Tol's muted scheme, told apart with the
common kinds of colour blindness; marks and dashes say the same without colour.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentrt.replay.report.markup import Html, tag

_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#332288",
    "#882255",
)
_BOUND_COLOURS = ("#333333", "#8A8A8A")
_BOUND_DASHES = ((5.0, 2.0), (2.0, 1.5), (6.0, 1.5, 1.5, 1.5))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
#: The marks in a box from -5 to 5.
_MARK_PATHS = {
    "o": "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z",
    "s": "M-3-3h6v6h-6z",
    "^": "M0-3.8L3.8 3h-7.6z",
    "D": "M0-4L4 0L0 4L-4 0z",
    "v": "M0 3.8L3.8-3h-7.6z",
    "P": "M-1.3-3.8h2.6v2.5h2.5v2.6h-2.5v2.5h-2.6v-2.5h-2.5v-2.6h2.5z",
    "X": "M-3.8-2L-2-3.8L0-1.8L2-3.8L3.8-2L1.8 0L3.8 2L2 3.8L0 1.8L-2 3.8L-3.8 2L-1.8 0z",
}

PREFILL = "#0072B2"
DECODE = "#009E73"
RECOMPUTE = "#D55E00"
#: Where KV memory is, from the bottom of the stack to its top.
KV_COLOURS = {"running": "#1F5A92", "leased": "#E3A72F", "cached": "#A8CDE8", "free": "#EFF1F3"}
INK = "#24292F"
GRID = "#DFE3E8"


@dataclass(frozen=True, slots=True)
class PolicyStyle:
    """How a policy is drawn.

    Attributes:
        dash: lengths of dashes and gaps, in line widths; None for a solid line.
        mark: one of matplotlib's markers; None for a bound.
    """

    colour: str
    dash: tuple[float, ...] | None
    mark: str | None


def is_bound(policy: str) -> bool:
    """Whether a policy knows or has what no engine can: it bounds what others can reach."""
    name = policy.partition(":")[0]
    return name in ("infinite-kv", "isolated") or name.startswith("oracle-")


def policy_styles(policies: list[str]) -> dict[str, PolicyStyle]:
    """A style for each, in the order given."""
    styles: dict[str, PolicyStyle] = {}
    real = bounds = 0
    for policy in policies:
        if is_bound(policy):
            colour = _BOUND_COLOURS[bounds % len(_BOUND_COLOURS)]
            styles[policy] = PolicyStyle(colour, _BOUND_DASHES[bounds % len(_BOUND_DASHES)], None)
            bounds += 1
        else:
            # Seven marks and eight colours: 56 policies before a pair comes again.
            styles[policy] = PolicyStyle(
                _COLOURS[real % len(_COLOURS)], None, _MARKS[real % len(_MARKS)]
            )
            real += 1
    return styles


def line_swatch(style: PolicyStyle) -> Html:
    """The line of a policy, for legends and tables."""
    dashes = None if style.dash is None else " ".join(f"{2 * d:g}" for d in style.dash)
    parts = [
        tag(
            "path",
            d="M1 6h26",
            stroke=style.colour,
            stroke_width="2",
            stroke_dasharray=dashes,
            fill="none",
        )
    ]
    if style.mark is not None:
        path = _MARK_PATHS[style.mark]
        parts.append(tag("path", d=path, transform="translate(14 6)", fill=style.colour))
    return tag("svg", *parts, class_="swatch", viewBox="0 0 28 12", aria_hidden="true")


def area_swatch(colour: str) -> Html:
    """A filled area, for legends."""
    area = tag(
        "rect", x="1", y="1", width="14", height="10", rx="1.5", fill=colour, stroke="#6E7781",
        stroke_width="0.6",
    )  # fmt: skip
    return tag("svg", area, class_="swatch area", viewBox="0 0 16 12", aria_hidden="true")
