"""Pauses that are added to tools which answer at once; whoever reads the figures is told so."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from agentrt.errors import SettingError
from agentrt.replay.trace_file import load_trace
from agentrt_engine.wire.trace import PauseKind

#: Nothing is added: the time of tools is what it takes.
MEASURED = "measured"

#: Longest pause of a distribution without an end, seconds.
LONGEST_S = 600.0

#: A pause, seconds.
_Draw = Callable[[random.Random], float]


class Pauses:
    """Draws the pause of a call: the same for the same entry and call, whatever the policy.

    Attributes:
        spec: as it was given.
        longest_s: what no pause exceeds, seconds.

    Args:
        spec: `measured`; `trace:FILE`, the tool times of a trace; or `dist:NAME:NUMBER,…` with
            `fixed:S`, `uniform:LOW,HIGH`, `exp:MEAN`, `lognormal:MEDIAN,SIGMA` or
            `pareto:ALPHA,LOW,HIGH`, in seconds.
        seed: of all draws.

    Raises:
        SettingError: the specification is none of these, or its numbers cannot be.
        TraceError: the trace cannot be read.
    """

    def __init__(self, spec: str = MEASURED, seed: int = 1) -> None:
        self.spec = spec
        self._seed = seed
        kind, _, rest = spec.partition(":")
        self._draw: _Draw | None = None
        self.longest_s = 0.0
        if kind == "trace" and rest:
            self._draw, self.longest_s = _of_trace(Path(rest))
        elif kind == "dist" and rest:
            self._draw, self.longest_s = _of_distribution(spec, rest)
        elif spec != MEASURED:
            raise SettingError(
                f"--pauses {spec}: expected {MEASURED}, trace:FILE or dist:NAME:NUMBERS"
            )

    @property
    def injected(self) -> bool:
        """Whether anything is added."""
        return self._draw is not None

    def seconds(self, entry_id: str, call: int) -> float:
        """What is added to a call of an entry, by its number."""
        if self._draw is None:
            return 0.0
        drawn = self._draw(random.Random(f"{self._seed}/{entry_id}/{call}"))
        return min(max(drawn, 0.0), self.longest_s)


def _of_trace(path: Path) -> tuple[_Draw, float]:
    """The times of all tools; where a trace has none, the pauses that tools made."""
    turns = [turn for program in load_trace(path).programs for turn in program.turns]
    times = [tool.seconds for turn in turns for tool in turn.tools if tool.seconds is not None]
    times = times or [
        turn.pause_s
        for turn in turns
        if turn.pause_kind is PauseKind.TOOL and turn.pause_s is not None
    ]
    if not times:
        raise SettingError(f"--pauses trace:{path}: there is no tool in that trace")
    return lambda rng: rng.choice(times), max(times)


def _pareto(rng: random.Random, alpha: float, low: float, high: float) -> float:
    return min(low * rng.paretovariate(alpha), high)


#: Name → a draw with the parameters, and how many there are.
_DISTRIBUTIONS: Mapping[str, tuple[Callable[..., float], int]] = {
    "fixed": (lambda _rng, seconds: seconds, 1),
    "uniform": (random.Random.uniform, 2),
    "exp": (lambda rng, mean: rng.expovariate(1 / mean), 1),
    "lognormal": (lambda rng, median, sigma: rng.lognormvariate(math.log(median), sigma), 2),
    "pareto": (_pareto, 3),
}

#: Those that end, with the parameter that is their end.
_ENDS = {"fixed": 0, "uniform": 1, "pareto": 2}


def _of_distribution(spec: str, rest: str) -> tuple[_Draw, float]:
    name, _, listed = rest.partition(":")
    if name not in _DISTRIBUTIONS:
        raise SettingError(
            f"--pauses {spec}: unknown distribution {name!r}, expected one of "
            f"{', '.join(_DISTRIBUTIONS)}"
        )
    draw, count = _DISTRIBUTIONS[name]
    try:
        numbers = [float(number) for number in listed.split(",")]
    except ValueError:
        numbers = []
    usable = all(0 < number < math.inf for number in numbers)
    if len(numbers) != count or not usable:
        raise SettingError(
            f"--pauses {spec}: {name} takes {count} numbers above 0, separated by commas"
        )
    longest = numbers[_ENDS[name]] if name in _ENDS else LONGEST_S
    return lambda rng: draw(rng, *numbers), longest
