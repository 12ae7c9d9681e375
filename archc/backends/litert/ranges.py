"""The range that a layer needs in int8 before an activation, so that the activation loses nothing of its own range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from archc.ir.quantization import HIGHEST, LOWEST, Range, Scale
from archc.ir.state import Array

POINTS = 1 << 13
"""Places on each side of zero at which a function is looked at; its range is cut off at one of them."""


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def _gelu(x: Array) -> Array:
    result: Array = x * np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    return result


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "tanh": np.tanh,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
}
"""The activations that are more than the ends of a range, in 64-bit floats."""


def before(function: str, after: Scale) -> Range:
    """The smallest range of an activation's input beyond which its output, held by `after`, does not change.

    Beyond means by more than half a step: what is cut off there rounds to the same integer or to its neighbour.
    """
    low, high = (after.scale * (end - after.zero_point) for end in (LOWEST, HIGHEST))
    # No function here needs more than these, and the places are dense around zero, where the range may be tiny.
    ends = np.geomspace(after.scale / 8, max(-101 * low, high + 64), POINTS)
    x = np.concatenate([-ends[::-1], [0.0], ends])
    y = FUNCTIONS[function](x)
    bottom = int(y.argmin())
    if low > y[bottom] / 2:
        # Nothing came near the bottom of a valley, as that of `hardswish`, so nothing lies on its other side either.
        x, y = x[bottom:], y[bottom:]
    y = np.clip(y, low, high)
    half = after.scale / 2
    changed = np.flatnonzero(np.abs(y - y[0]) > half)
    left = max(int(changed[0]) - 1, 0) if len(changed) else 0
    changed = np.flatnonzero(np.abs(y - y[-1]) > half)
    right = min(int(changed[-1]) + 1, len(x) - 1) if len(changed) else len(x) - 1
    return Range(float(x[left]), float(x[right]))
