"""Initial weights: drawn with NumPy, so that a seed gives the same ones on each of Keras's backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from archc.backends.keras.runtime import keras
from archc.ir import ops
from archc.ir.initial import CUT, Distribution, of_bias, of_weight
from archc.ir.ops import Shape
from archc.language.settings import Init


class Draw(keras.initializers.Initializer):
    """Draws from a distribution with a generator that all layers of a network share."""

    def __init__(self, distribution: Distribution, generator: np.random.Generator) -> None:
        self.distribution, self.generator = distribution, generator

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_: Any) -> Any:
        """Numbers of this shape."""
        return keras.ops.convert_to_tensor(_drawn(self.distribution, tuple(shape), self.generator), dtype)

    def stock(self) -> Any:
        """Keras's own initializer of the same distribution, which is what a saved layer states."""
        kind, scale = self.distribution
        if kind == "uniform":
            return keras.initializers.RandomUniform(-scale, scale)
        if kind == "normal" or scale < CUT / _FAR:
            return keras.initializers.RandomNormal(0.0, scale)
        return keras.initializers.TruncatedNormal(0.0, scale)


_FAR = 5
"""Standard deviations beyond which a cut leaves a normal distribution as it is, for all that float32 shows."""


def _drawn(distribution: Distribution, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    kind, scale = distribution
    if kind == "uniform":
        values = generator.random(shape, np.float32)
        values *= np.float32(2 * scale)
        values -= np.float32(scale)
        return values
    values = generator.standard_normal(shape, np.float32)
    values *= np.float32(scale)
    while kind == "trunc_normal" and (beyond := np.abs(values) > CUT).any():
        values[beyond] = generator.standard_normal(int(beyond.sum()), np.float32) * np.float32(scale)
    return values


class Initial:
    """The initializers of a graph's layers, by its policy."""

    def __init__(self, policy: Init, generator: np.random.Generator) -> None:
        self.policy, self.generator = policy, generator

    def weight(self, op: ops.Conv | ops.Linear, inputs: Sequence[Shape]) -> Draw:
        """Of a convolution's or a linear layer's weight."""
        groups, how = (op.groups, self.policy.conv) if isinstance(op, ops.Conv) else (1, self.policy.linear)
        return Draw(of_weight(how, op.weights(*inputs)[0].shape, groups), self.generator)

    def bias(self, op: ops.Conv | ops.Linear, inputs: Sequence[Shape]) -> Draw | str:
        """Of its bias."""
        if self.policy.bias == "zeros":
            return "zeros"
        return Draw(of_bias(op.weights(*inputs)[0].shape), self.generator)


def settle(layer: Any) -> None:
    """Put Keras's own initializers where this module's have done their work, so that the layer can be saved."""
    for name in ("kernel_initializer", "depthwise_initializer", "bias_initializer"):
        used = getattr(layer, name, None)
        if isinstance(used, Draw):
            setattr(layer, name, used.stock())
