"""How long a tool call will take: from its tool, its arguments, the program's last calls of it.

Log-bin counts of pauses (bins as in `histogram.py`) lean on one another: all tools together on a
broad prior, a tool on all together, and on the tool two chains of ever narrower cases:

    history   how long the program's last call of the tool took, and the one before, and before
    argument  what its arguments begin with, then how many calls the reply made, how long it was

Each chain gives a distribution, p_h and p_a; what both say beyond the tool's own p_t multiplies:

    p ∝ p_h · (p_a / p_t)^TRUST

Counts of a case are halved when they are many, so that old ones fade. Source: design of this
project; docs/policies.md has what each part brings.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log
from statistics import NormalDist

from agentrt_engine.policy.histogram import BINS, EDGES_S, LAST

#: Pseudo-counts with the shape of the prior, of all tools, and of the wider case.
PRIOR_COUNT = 1.0
TOOL_COUNT = 3.0
CASE_COUNT = 50.0

#: Exponent of what the arguments say.
TRUST = 0.8

#: The prior is log-normal, with a share that is spread evenly.
PRIOR_MEDIAN_S = 0.3
PRIOR_SIGMA = 1.0
EVEN_SHARE = 0.02

#: Calls of a program that are looked back on, and bins of the histogram that count as the same.
DEPTH = 3
COARSE = 8

#: Counts of a case are halved from here on; cases that are kept.
MOST_COUNTED = 2_000
MOST_CASES = 8_192

#: Longest signature that is told apart, characters.
LONGEST_SIGNATURE = 64

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

Distribution = list[float]


@dataclass(frozen=True, slots=True)
class Call:
    """A pause that begins.

    Attributes:
        program: whose it is.
        tool: that it waits for, or several by one name.
        calls: tool calls that the reply made.
        output_tokens: of the reply.
        signature: its arguments in short; empty where nobody says.
    """

    program: Hashable
    tool: str
    calls: int = 1
    output_tokens: int = 1
    signature: str = ""


class Counts:
    """How many pauses ended in each bin, and how many were cut off there."""

    __slots__ = ("censored", "ended", "total")

    def __init__(self) -> None:
        self.ended = [0.0] * BINS
        self.censored = [0.0] * BINS
        self.total = 0.0

    def observe(self, k: int, *, censored: bool) -> None:
        """Count one; half of what was counted before fades when it is much."""
        if self.total >= MOST_COUNTED:
            self.ended = [count / 2 for count in self.ended]
            self.censored = [count / 2 for count in self.censored]
            self.total /= 2
        (self.censored if censored else self.ended)[k] += 1.0
        self.total += 1.0

    def leaning_on(self, wide: Distribution, pseudo: float) -> Distribution:
        """How likely each bin is, with so many pseudo-counts of a wider distribution.

        The weight of censored pauses moves to the right in proportion to what is there (see
        `histogram.py`).
        """
        hazards = [0.0] * BINS
        at_risk = 0.0
        for k in range(LAST, -1, -1):
            events = self.ended[k] + pseudo * wide[k]
            at_risk += self.censored[k] + events
            hazards[k] = events / at_risk
        masses = []
        left = 1.0
        for hazard in hazards:
            masses.append(left * hazard)
            left -= masses[-1]
        return masses


class ToolPredictor:
    """Learns from every pause and predicts the next.

    Args:
        depth: calls of the program that are looked back on.
        trust: exponent of what the arguments say.
    """

    def __init__(self, depth: int = DEPTH, trust: float = TRUST) -> None:
        self._depth = depth
        self._trust = trust
        self._prior = _prior()
        self._everything = Counts()
        self._cases: dict[Hashable, Counts] = {}
        # The coarse length of the last calls of each tool, the last one first.
        self._past: dict[Hashable, dict[str, tuple[int, ...]]] = {}

    def observe(self, call: Call, seconds: float, *, censored: bool = False) -> None:
        """A pause ended, or was cut off (`censored`) and would have lasted longer."""
        k = _bin(seconds)
        self._everything.observe(k, censored=censored)
        for case in dict.fromkeys([call.tool, *self._history(call), *_argument(call)]):
            counts = self._cases.pop(case, None) or Counts()
            self._cases[case] = counts
            counts.observe(k, censored=censored)
        while len(self._cases) > MOST_CASES:
            del self._cases[next(iter(self._cases))]
        lengths = self._past.setdefault(call.program, {})
        lengths[call.tool] = (k // COARSE, *lengths.get(call.tool, ()))[: self._depth]

    def forget(self, program: Hashable) -> None:
        """A program has ended."""
        self._past.pop(program, None)

    def quantiles(self, call: Call, wanted: tuple[float, ...] = QUANTILES) -> dict[float, float]:
        """Seconds that the pause does not exceed with each probability, which rise."""
        masses = self._masses(call)
        total = sum(masses)
        found = {}
        k, below = 0, 0.0
        for q in sorted(wanted):
            while k < LAST and below + masses[k] < q * total:
                below += masses[k]
                k += 1
            share = min(1.0, max(0.0, (q * total - below) / masses[k]))
            start = EDGES_S[k]
            if k < LAST:
                found[q] = start + (EDGES_S[k + 1] - start) * share
            else:
                found[q] = start - start * log(max(1.0 - share, 1e-9))
        return found

    def _masses(self, call: Call) -> Distribution:
        """How likely each bin is, up to a factor."""
        everything = self._everything.leaning_on(self._prior, PRIOR_COUNT)
        tool = self._narrow([call.tool], everything, TOOL_COUNT)
        history = self._narrow(self._history(call), tool, CASE_COUNT)
        argument = self._narrow(_argument(call), tool, CASE_COUNT)
        return [h * (a / t) ** self._trust for h, a, t in zip(history, argument, tool, strict=True)]

    def _narrow(self, cases: Iterable[Hashable], wide: Distribution, pseudo: float) -> Distribution:
        """The distribution of the last case, each leaning on the one before it."""
        for case in cases:
            counts = self._cases.get(case)
            if counts is not None:
                wide = counts.leaning_on(wide, pseudo)
        return wide

    def _history(self, call: Call) -> Iterator[Hashable]:
        lengths = self._past.get(call.program, {}).get(call.tool, ())
        # The first call of a tool is a case of its own.
        known = (*lengths, *(-1,) * (self._depth - len(lengths)))
        for depth in range(1, self._depth + 1):
            yield call.tool, "history", known[:depth]


def _argument(call: Call) -> Iterator[Hashable]:
    signature = call.signature[:LONGEST_SIGNATURE]
    if signature:
        yield call.tool, "argument", signature
    size = min(call.calls, 4), max(1, call.output_tokens).bit_length()
    yield call.tool, "argument", signature, min(call.calls, 4)
    yield call.tool, "argument", signature, *size


def _prior() -> Distribution:
    normal = NormalDist(log(PRIOR_MEDIAN_S), PRIOR_SIGMA)
    below = [0.0, *(normal.cdf(log(edge)) for edge in EDGES_S[1:]), 1.0]
    masses = [end - start for start, end in pairwise(below)]
    return [(1.0 - EVEN_SHARE) * mass + EVEN_SHARE / BINS for mass in masses]


def _bin(seconds: float) -> int:
    return bisect_right(EDGES_S, seconds) - 1
