"""What is measured, and what the engine did meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from statistics import fmean, median


class Kind(StrEnum):
    """What a measurement is about."""

    #: Time to the first token of a fresh prompt.
    PREFILL = "prefill"
    #: The same behind a prefix that is in the cache.
    EXTEND = "extend"
    #: Time between two tokens of a batch that decodes.
    DECODE = "decode"
    #: Time between two tokens while another prompt is prefilled; not fitted, only predicted.
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        batch: requests at once that decode; 0 where nothing decodes.
        context: cached tokens before what is prefilled, or of each request that decodes.
        new: fresh tokens to prefill.
    """

    kind: Kind
    batch: int
    context: int
    new: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.PREFILL:
                return f"{self.new:,} tokens"
            case Kind.EXTEND:
                return f"{self.new:,} tokens behind {self.context:,}"
            case Kind.DECODE:
                return f"{self.batch} × {self.context:,} tokens"
            case Kind.MIXED:
                return f"{self.batch} × {self.context:,} and {self.new:,} new"


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine did in a measured time; the features of the cost model.

    Attributes:
        requests: whose way in and out is in the time: 1 for a time to first token, else 0.
        kv_tokens, sequences: that decoded, summed over the steps.
        tokens, positions: prefilled, and the sum of their positions.
    """

    requests: float
    steps: float
    kv_tokens: float
    sequences: float
    tokens: float
    positions: float

    def features(self) -> list[float]:
        """In the order of the fields."""
        return [float(getattr(self, field.name)) for field in fields(self)]


def prefill_work(first: int, end: int, *, chunk: int | None) -> Work:
    """One request that prefills the positions from `first` up to `end` and nothing else runs."""
    count = end - first
    steps = 1 if chunk is None else -(-count // chunk)
    return Work(1, steps, 0, 0, count, count * (first + end - 1) / 2)


@dataclass(frozen=True, slots=True)
class Sample:
    """One time that a case took, seconds."""

    case: Case
    work: Work
    seconds: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """All samples of a case: the mean work and the median time, seconds."""

    case: Case
    work: Work
    seconds: float
    samples_s: tuple[float, ...]

    @classmethod
    def of(cls, samples: list[Sample]) -> Measurement:
        times = tuple(sample.seconds for sample in samples)
        works = [sample.work.features() for sample in samples]
        mean = Work(*(fmean(column) for column in zip(*works, strict=True)))
        return cls(samples[0].case, mean, median(times), times)
