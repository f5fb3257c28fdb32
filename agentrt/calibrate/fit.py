"""Coefficients of the cost model from measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median

from agentrt.calibrate.work import Kind, Measurement, Work
from agentrt_engine.least_squares import solve_nonnegative

_REWEIGHTINGS = 20
#: An error beyond so many times the usual one counts linearly.
_HUBER = 2.0
_LEAST_ERROR = 0.01


@dataclass(frozen=True, slots=True)
class Fit:
    """The cost model that fits measurements best, seconds.

    Attributes:
        request_s: way of a request in and out: HTTP, tokenizer, queue; no part of a step.
        fixed_s: of a step.
        decode_s: per KV token that decodes.
        sequence_s: per turn that decodes.
        prefill_s: per prefilled token.
        position_s: per prefilled token and token before it.
        mixed_steps: one step prefills and decodes; else decoding waits for a step of prefill.
    """

    request_s: float
    fixed_s: float
    decode_s: float
    sequence_s: float
    prefill_s: float
    position_s: float
    mixed_steps: bool = True

    def predict(self, work: Work) -> float:
        """Seconds that this work takes."""
        own_step = not self.mixed_steps and work.tokens > 0 and work.sequences > 0
        return (
            self.request_s * work.requests
            + self.fixed_s * (work.steps + own_step)
            + self.decode_s * work.kv_tokens
            + self.sequence_s * work.sequences
            + self.prefill_s * work.tokens
            + self.position_s * work.positions
        )

    def error(self, measurement: Measurement) -> float:
        """Of the prediction, relative to what was measured."""
        return self.predict(measurement.work) / measurement.seconds - 1


@dataclass(frozen=True, slots=True)
class Quality:
    """How far predictions are off, as shares of what was measured, signs dropped."""

    median: float
    worst: float


def fit_costs(measurements: Sequence[Measurement]) -> Fit:
    """The coefficients, none negative, that make the relative errors smallest in square.

    Measurements that are far off, because the machine had something else to do, weigh less
    (Huber, 1964). Of `Kind.MIXED` only whether the engine mixes is taken; whether it is predicted
    shows how far the model can be trusted.
    """
    fitted = [each for each in measurements if each.case.kind is not Kind.MIXED]
    weights = [1.0] * len(fitted)
    fit = _least_squares(fitted, weights)
    for _ in range(_REWEIGHTINGS):
        errors = [abs(fit.error(each)) for each in fitted]
        usual = max(_LEAST_ERROR, median(errors))
        weights = [min(1.0, _HUBER * usual / error) if error else 1.0 for error in errors]
        fit = _least_squares(fitted, weights)
    both = [each for each in measurements if each.case.kind is Kind.MIXED]
    return min(fit, replace(fit, mixed_steps=False), key=lambda fit: _total_error(fit, both))


def _total_error(fit: Fit, measurements: Sequence[Measurement]) -> float:
    return sum(abs(fit.error(measurement)) for measurement in measurements)


def _least_squares(measurements: Sequence[Measurement], weights: Sequence[float]) -> Fit:
    size = len(fields(Work))
    # One turn at a time does not tell what it adds from what a step takes anyway.
    batches = {each.work.sequences for each in measurements if each.work.sequences}
    known = [field.name != "sequences" or len(batches) > 1 for field in fields(Work)]
    matrix = [[0.0] * size for _ in range(size)]
    right = [0.0] * size
    for measurement, weight in zip(measurements, weights, strict=True):
        features = zip(measurement.work.features(), known, strict=True)
        row = [feature * use / measurement.seconds for feature, use in features]
        for i, value in enumerate(row):
            right[i] += weight * value
            for j, other in enumerate(row):
                matrix[i][j] += weight * value * other
    request, fixed, decode, sequence, token, position = solve_nonnegative(matrix, right)
    return Fit(request, fixed, decode, sequence, token, position)


def quality(fit: Fit, measurements: Iterable[Measurement]) -> Quality:
    """Over at least one measurement."""
    errors = [abs(fit.error(measurement)) for measurement in measurements]
    return Quality(median(errors), max(errors))
