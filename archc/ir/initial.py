"""How weights start: the distributions that every backend draws from."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from archc.language.settings import Initializer


class Distribution(NamedTuple):
    """What a weight's first values are drawn from.

    `constant`: every value is `scale`. `normal`: around 0, with the standard deviation `scale`. `trunc_normal`: the
    same, cut off at ±`CUT`. `uniform`: between -`scale` and `scale`.
    """

    kind: Literal["constant", "normal", "trunc_normal", "uniform"]
    scale: float


def constant(value: float) -> Distribution:
    """Every element is this value."""
    return Distribution("constant", value)


ZEROS, ONES = constant(0.0), constant(1.0)


CUT = 2.0
"""Where `trunc_normal` is cut off: in absolute terms, as torch and timm do. TensorFlow counts standard deviations."""


def of_weight(how: Initializer, shape: tuple[int, ...], groups: int = 1) -> Distribution:
    """The distribution of a convolution's or linear layer's weight of this canonical shape: [out, in / groups, ...]."""
    window = math.prod(shape[2:])
    fan_out, fan_in = shape[0] * window, shape[1] * window
    match how:
        case "kaiming_normal_fan_out":
            return Distribution("normal", math.sqrt(2 / fan_out))
        case "kaiming_normal_fan_out_grouped":
            return Distribution("normal", math.sqrt(2 / (fan_out // groups)))
        case "kaiming_uniform_fan_in":
            return Distribution("uniform", 1 / math.sqrt(fan_in))
        case "lecun_uniform":
            return Distribution("uniform", math.sqrt(3 / fan_in))
        case "xavier_uniform":
            return Distribution("uniform", math.sqrt(6 / (fan_in + fan_out)))
        case "uniform_fan_out":
            return Distribution("uniform", 1 / math.sqrt(fan_out // groups))
        case ("normal", float(std)):
            return Distribution("normal", std)
        case ("trunc_normal", float(std)):
            return Distribution("trunc_normal", std)
        case _:
            raise AssertionError(f"no initialiser {how!r}")


def of_bias(shape: tuple[int, ...]) -> Distribution:
    """The distribution of a bias under `uniform_fan_in`; `shape` is the weight's."""
    return Distribution("uniform", 1 / math.sqrt(math.prod(shape[1:])))
