"""One engine against another over the same runs: ratios of pairs, with their uncertainty."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_RESAMPLES = 10_000
_SEED = "agentrt paired ratios"


@dataclass(frozen=True, slots=True)
class PairedRatio:
    """How many times the value of the first engine.

    Attributes:
        median: of the ratios of all pairs.
        low, high: the 95 % bootstrap interval of it; None with fewer than two pairs.
        pairs: runs of the same seed and repeat on both.
        left_out: pairs in which a program failed.
    """

    median: float
    low: float | None
    high: float | None
    pairs: int
    left_out: int


def paired_ratio(
    first: Sequence[float | None], other: Sequence[float | None]
) -> PairedRatio | None:
    """The median ratio of `other` to `first`; None without a single pair.

    The interval is that of the percentile bootstrap (Efron 1979): the median of as many pairs
    drawn with replacement, 10,000 times, from a fixed seed.

    Args:
        first, other: a value per run, in the same order of seeds and repeats; None: not usable.
    """
    ratios = [
        theirs / ours
        for ours, theirs in zip(first, other, strict=True)
        if ours and theirs is not None
    ]
    if not ratios:
        return None
    left_out = len(first) - len(ratios)
    if len(ratios) == 1:
        return PairedRatio(ratios[0], None, None, 1, left_out)
    rng = random.Random(_SEED)
    medians = sorted(median(rng.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    low, high = (medians[round(share * (_RESAMPLES - 1))] for share in (0.025, 0.975))
    return PairedRatio(median(ratios), low, high, len(ratios), left_out)
