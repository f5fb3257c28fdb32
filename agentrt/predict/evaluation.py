"""Predicts every pause of a trace when it begins, learns it when it ends, and keeps the score.

The score is the pinball loss, in seconds: at probability q a prediction of p costs q·(x − p) for a
pause of x > p, and (1 − q)·(p − x) for a shorter one; the true quantile costs least. Calibration is
the share of pauses that were no longer than predicted, which should be q.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Protocol

from agentrt.predict.pauses import Begins, Ends
from agentrt_engine.policy.empirical import EmpiricalDurations
from agentrt_engine.policy.prediction import Call, ToolPredictor

#: Probabilities that are predicted.
SCORED = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)

#: Durations in all before Continuum trusts what it has seen of them; before, Exp(1).
CONTINUUM_COLD = 100

BASELINE = "per-tool CDF"


class Predictor(Protocol):
    """Learns from pauses and says quantiles of the next."""

    def quantiles(self, call: Call, wanted: tuple[float, ...]) -> Mapping[float, float]:
        """Seconds by probability."""

    def observe(self, call: Call, seconds: float) -> None:
        """A pause ended."""

    def forget(self, program: int) -> None:
        """A program ended."""


class PerToolCdf:
    """Continuum's: the recorded durations of the tool; of all tools for one never seen."""

    def __init__(self) -> None:
        self._durations = EmpiricalDurations()

    def quantiles(self, call: Call, wanted: tuple[float, ...]) -> Mapping[float, float]:
        """See `Predictor`."""
        if self._durations.count() < CONTINUUM_COLD:
            return {q: -log(1 - q) for q in wanted}
        tool = call.tool if self._durations.count(call.tool) else None
        return {q: self._durations.quantile(tool, q) or 0.0 for q in wanted}

    def observe(self, call: Call, seconds: float) -> None:
        """See `Predictor`."""
        self._durations.observe(call.tool, seconds)

    def forget(self, program: int) -> None:
        """It keeps nothing of programs."""


def predictors() -> dict[str, Predictor]:
    """Continuum's, and ours with and without its parts, by name."""
    return {
        BASELINE: PerToolCdf(),
        "tool": ToolPredictor(depth=0, trust=0.0),
        "tool, history": ToolPredictor(trust=0.0),
        "tool, arguments": ToolPredictor(depth=0),
        "tool, history, arguments": ToolPredictor(),
    }


@dataclass(slots=True)
class Score:
    """How one predictor did.

    Attributes:
        losses: sum of the pinball losses by probability, seconds.
        covered: pauses that were no longer than predicted, by probability.
    """

    losses: dict[float, float] = field(default_factory=lambda: dict.fromkeys(SCORED, 0.0))
    covered: dict[float, int] = field(default_factory=lambda: dict.fromkeys(SCORED, 0))

    def add(self, predicted: Mapping[float, float], seconds: float) -> None:
        """One pause."""
        for q in SCORED:
            over = predicted[q] - seconds
            self.losses[q] += (1 - q) * over if over > 0 else -q * over
            self.covered[q] += over >= 0

    @property
    def loss(self) -> float:
        """Over all probabilities."""
        return sum(self.losses.values())


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Predictors on the same pauses.

    Attributes:
        pauses: that were predicted.
        scores: by the predictor's name, Continuum's first.
    """

    pauses: int
    scores: dict[str, Score]

    def relative(self, name: str) -> float:
        """Loss over that of Continuum's; 1 where neither lost anything."""
        baseline = self.scores[BASELINE].loss
        return self.scores[name].loss / baseline if baseline else 1.0


def evaluate(events: Iterable[Begins | Ends]) -> Evaluation:
    """Let every predictor see the same events."""
    by_name = predictors()
    scores = {name: Score() for name in by_name}
    count = 0
    for event in events:
        if isinstance(event, Begins):
            count += 1
            for name, predictor in by_name.items():
                scores[name].add(predictor.quantiles(event.call, SCORED), event.seconds)
        else:
            for predictor in by_name.values():
                if event.call is None:
                    predictor.forget(event.program)
                else:
                    predictor.observe(event.call, event.seconds)
    return Evaluation(count, scores)


def as_document(evaluations: Sequence[tuple[str, Evaluation]]) -> list[dict[str, object]]:
    """For `--json`: one object per trace."""
    return [
        {
            "trace": trace,
            "pauses": found.pauses,
            "predictors": [
                {
                    "name": name,
                    "loss_s": score.loss / (len(SCORED) * found.pauses),
                    "relative_loss": found.relative(name),
                    "losses_s": {str(q): loss / found.pauses for q, loss in score.losses.items()},
                    "covered": {str(q): n / found.pauses for q, n in score.covered.items()},
                }
                for name, score in found.scores.items()
            ],
        }
        for trace, found in evaluations
    ]
