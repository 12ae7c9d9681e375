"""Non-negative least squares for a handful of unknowns, exactly and without a library."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

_SINGULAR = 1e-10


def non_negative(rows: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[float, ...]:
    """The non-negative x that brings `rows · x` closest to `values`, in least squares.

    The solution has some unknowns at zero, and the others solve the problem without a bound. With few unknowns, all
    choices of those can be tried (Lawson and Hanson 1974, chapter 23, with a search in place of their walk).
    """
    width = len(rows[0])
    scales = [max(abs(row[column]) for row in rows) or 1.0 for column in range(width)]
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    gram = [[sum(row[i] * row[j] for row in scaled) for j in range(width)] for i in range(width)]
    target = [sum(row[i] * value for row, value in zip(scaled, values, strict=True)) for i in range(width)]
    best, found = 0.0, [0.0] * width
    for size in range(1, width + 1):
        for chosen in combinations(range(width), size):
            solved = _solve([[gram[i][j] for j in chosen] for i in chosen], [target[i] for i in chosen])
            if solved is None or min(solved) < 0:
                continue
            # |A·x - b|² is b·b - x·Aᵀb where x solves the normal equations.
            gain = sum(x * target[i] for x, i in zip(solved, chosen, strict=True))
            if gain > best * (1 + 1e-12):
                best = gain
                found = [0.0] * width
                for x, i in zip(solved, chosen, strict=True):
                    found[i] = x
    return tuple(x / scale for x, scale in zip(found, scales, strict=True))


def _solve(matrix: list[list[float]], values: list[float]) -> list[float] | None:
    """The solution of symmetric equations by elimination; None where they have none or many."""
    size = len(values)
    rows = [[*row, value] for row, value in zip(matrix, values, strict=True)]
    for step in range(size):
        pivot = max(range(step, size), key=lambda row: abs(rows[row][step]))
        if abs(rows[pivot][step]) <= _SINGULAR * max(abs(matrix[i][i]) for i in range(size)):
            return None
        rows[step], rows[pivot] = rows[pivot], rows[step]
        for row in range(step + 1, size):
            factor = rows[row][step] / rows[step][step]
            rows[row] = [a - factor * b for a, b in zip(rows[row], rows[step], strict=True)]
    solved = [0.0] * size
    for step in reversed(range(size)):
        known = sum(rows[step][column] * solved[column] for column in range(step + 1, size))
        solved[step] = (rows[step][size] - known) / rows[step][step]
    return solved
