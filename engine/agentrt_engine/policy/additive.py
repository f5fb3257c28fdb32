"""Additive regression learned online: a sum of one piecewise-linear function per feature.

Each function is linear between quantiles of its feature and constant outside them. Its values
there are the coefficients of a ridge regression (a generalised additive model, Hastie and
Tibshirani 1986, with a basis of linear splines), solved by a Cholesky factorisation of the
normal equations whenever the rows have grown by a tenth.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from math import isfinite, sqrt
from operator import mul
from typing import Any

LINEAR, MAX_KNOTS = 2, 6
ROWS_PER_KNOT = 16
FIRST_BUILD = 32
MAX_ROWS = 2048
REFIT_GROWTH = 0.1


class AdditiveRegression:
    """Predicts a target from a fixed number of features; 0 before 32 rows were learned.

    The quantiles are taken anew, from the last 2,048 rows, each time the rows have doubled and,
    once that many are held, with every 1,024 more; older rows are forgotten then. There is one
    per 16 rows, at least 2 and at most `max_knots`.

    Args:
        features: numbers in a row.
        ridge: penalty on each coefficient, in rows.
        max_knots: 2 makes every function linear.
    """

    __slots__ = (
        "_build_at",
        "_coefficients",
        "_features",
        "_first",
        "_gram",
        "_knots",
        "_learned",
        "_max_knots",
        "_moments",
        "_refit_at",
        "_ridge",
        "_rows",
    )

    def __init__(self, features: int, ridge: float, max_knots: int = MAX_KNOTS) -> None:
        self._features: int = features
        self._ridge: float = ridge
        self._max_knots: int = max_knots
        self._rows: deque[tuple[list[float], float]] = deque(maxlen=MAX_ROWS)
        self._learned: int = 0
        self._build_at: int = FIRST_BUILD
        self._refit_at: float = 0.0
        # Per feature its knots (none when it never varied) and the column of the first of them.
        self._knots: list[list[float]] = []
        self._first: list[int] = []
        # Normal equations: the lower triangle of XᵀX, and Xᵀy. Column 0 is the constant.
        self._gram: list[list[float]] = []
        self._moments: list[float] = []
        self._coefficients: list[float] = []

    def learn(self, features: list[float], target: float) -> None:
        """Add one row."""
        self._rows.append((features, target))
        self._learned += 1
        if self._learned >= self._build_at:
            self._build()
        elif self._knots:
            self._accumulate(features, target)

    def predict(self, features: list[float]) -> float:
        """The expected target."""
        if not self._knots:
            return 0.0
        if self._learned >= self._refit_at:
            self._refit_at = self._learned * (1.0 + REFIT_GROWTH)
            self._solve()
        coefficients = self._coefficients
        total = coefficients[0]
        for knots, first, value in zip(self._knots, self._first, features, strict=True):
            if not knots:
                continue
            j = bisect_right(knots, value)
            if j == 0:
                total += coefficients[first]
            elif j == len(knots):
                total += coefficients[first + j - 1]
            else:
                left = knots[j - 1]
                share = (value - left) / (knots[j] - left)
                before = coefficients[first + j - 1]
                total += before + share * (coefficients[first + j] - before)
        return total

    def snapshot(self) -> dict[str, Any]:
        """The rows held, as JSON-able data for `load`."""
        return {"learned": self._learned, "rows": [[x, y] for x, y in self._rows]}

    def load(self, data: Mapping[str, Any]) -> None:
        """Learn what a `snapshot` holds; ValueError, TypeError, KeyError where it is none."""
        for features, target in data["rows"]:
            numbers = [float(value) for value in features]
            if len(numbers) != self._features or not all(map(isfinite, [*numbers, target])):
                raise ValueError(f"row {features!r}, {target!r}, expected {self._features} numbers")
            self._rows.append((numbers, float(target)))
        self._learned = max(int(data["learned"]), len(self._rows))
        if len(self._rows) >= FIRST_BUILD:
            self._build()

    def _build(self) -> None:
        """Place the knots anew and sum the normal equations over the rows held."""
        self._build_at = self._learned + min(self._learned, MAX_ROWS // 2)
        self._refit_at = 0.0
        self._knots = []
        self._first = []
        width = 1
        count = min(max(len(self._rows) // ROWS_PER_KNOT, LINEAR), self._max_knots)
        for values in zip(*(features for features, _ in self._rows), strict=True):
            knots = quantiles(sorted(values), count)
            self._knots.append(knots)
            self._first.append(width)
            width += len(knots)
        self._gram = [[0.0] * (row + 1) for row in range(width)]
        self._moments = [0.0] * width
        for features, target in self._rows:
            self._accumulate(features, target)

    def _accumulate(self, features: list[float], target: float) -> None:
        columns, values = [0], [1.0]
        for knots, first, value in zip(self._knots, self._first, features, strict=True):
            if not knots:
                continue
            j = bisect_right(knots, value)
            if j == 0 or j == len(knots):
                columns.append(first + max(j - 1, 0))
                values.append(1.0)
            else:
                left = knots[j - 1]
                share = (value - left) / (knots[j] - left)
                columns.append(first + j - 1)
                values.append(1.0 - share)
                columns.append(first + j)
                values.append(share)
        moments = self._moments
        for i in range(len(columns)):
            at = values[i]
            moments[columns[i]] += at * target
            row = self._gram[columns[i]]
            for j in range(i + 1):
                row[columns[j]] += at * values[j]

    def _solve(self) -> None:
        """Cholesky: XᵀX + ridge = L·Lᵀ; L·z = Xᵀy; Lᵀ·w = z."""
        lower: list[list[float]] = []
        solution: list[float] = []
        for i, source in enumerate(self._gram):
            row: list[float] = []
            for j in range(i):
                other = lower[j]
                row.append((source[j] - sum(map(mul, row, other))) / other[j])
            penalty = self._ridge if i else 0.0
            row.append(sqrt(source[i] + penalty - sum(map(mul, row, row))))
            lower.append(row)
            solution.append((self._moments[i] - sum(map(mul, row, solution))) / row[i])
        for i in range(len(lower) - 1, -1, -1):
            value = solution[i] / lower[i][i]
            solution[i] = value
            for j in range(i):
                solution[j] -= lower[i][j] * value
        self._coefficients = solution


def quantiles(ordered: list[float], count: int) -> list[float]:
    """So many evenly spaced quantiles, equal ones once; none when all values are equal."""
    last = len(ordered) - 1
    knots = sorted({ordered[round(last * k / (count - 1))] for k in range(count)})
    return knots if len(knots) > 1 else []
