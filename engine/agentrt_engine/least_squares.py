"""Least squares with few unknowns, none of them negative; no numpy, so that it runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence

#: A gradient or a coefficient nearer to zero than this share of its scale counts as zero.
_TOLERANCE = 1e-12

Matrix = Sequence[Sequence[float]]


def solve_nonnegative(
    matrix: Matrix, right: Sequence[float], guess: Sequence[float] = ()
) -> list[float]:
    """The x >= 0 that minimises ½·xᵀAx − bᵀx, for normal equations A x = b.

    Lawson and Hanson's active-set method (Solving Least Squares Problems, 1974, chapter 23).

    Args:
        matrix: A, symmetric and positive semidefinite; a feature that never occurs (zeros) gets 0.
        right: b.
        guess: an earlier solution; the method starts from the unknowns that were positive in it.
    """
    size = len(right)
    usable = [index for index in range(size) if matrix[index][index] > 0]
    started = [index for index in usable if guess and guess[index] > 0]
    found = _solution_of(matrix, right, started)
    if any(found[index] <= 0 for index in started):
        started, found = [], [0.0] * size
    free = set(started)
    # Each round frees one unknown; more rounds than subsets would be a cycle from rounding.
    for _ in range(1 << size):
        index = _steepest(matrix, right, found, [each for each in usable if each not in free])
        if index is None:
            break
        free.add(index)
        found = _within_bounds(matrix, right, found, free)
    return found


def _steepest(
    matrix: Matrix, right: Sequence[float], found: Sequence[float], bound: Sequence[int]
) -> int | None:
    """The unknown at zero that wants most to grow, None when none does."""
    best, best_gain = None, _TOLERANCE
    for index in bound:
        row = matrix[index]
        gradient = right[index] - sum(row[other] * found[other] for other in range(len(right)))
        gain = gradient / (abs(right[index]) or 1.0)
        if gain > best_gain:
            best, best_gain = index, gain
    return best


def _within_bounds(
    matrix: Matrix, right: Sequence[float], found: list[float], free: set[int]
) -> list[float]:
    """The solution in the free unknowns; those that it would make negative are bound to zero."""
    while True:
        wanted = _solution_of(matrix, right, sorted(free))
        crossings = [
            (found[index] / (found[index] - wanted[index] or 1.0), index)
            for index in free
            if wanted[index] <= 0
        ]
        if not crossings:
            return wanted
        share, first = min(crossings)
        found = [
            max(0.0, value + share * (target - value))
            for value, target in zip(found, wanted, strict=True)
        ]
        found[first] = 0.0
        free.discard(first)


def _solution_of(matrix: Matrix, right: Sequence[float], free: Sequence[int]) -> list[float]:
    """The minimum with all but the free unknowns at zero, by Cholesky's decomposition.

    An unknown that the others before it explain entirely stays at zero.
    """
    lower: list[list[float]] = []
    middle: list[float] = []
    for row, index in enumerate(free):
        line = [0.0] * (row + 1)
        for column in range(row):
            known = sum(line[k] * lower[column][k] for k in range(column))
            pivot = lower[column][column]
            line[column] = (matrix[index][free[column]] - known) / pivot if pivot else 0.0
        square = matrix[index][index] - sum(value * value for value in line[:row])
        line[row] = square**0.5 if square > _TOLERANCE * matrix[index][index] else 0.0
        known = sum(line[k] * middle[k] for k in range(row))
        middle.append((right[index] - known) / line[row] if line[row] else 0.0)
        lower.append(line)
    solution = [0.0] * len(right)
    for row in range(len(free) - 1, -1, -1):
        known = sum(lower[k][row] * solution[free[k]] for k in range(row + 1, len(free)))
        if lower[row][row]:
            solution[free[row]] = (middle[row] - known) / lower[row][row]
    return solution
