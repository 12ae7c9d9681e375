"""Initial weights: drawn with NumPy, so that a seed gives the same ones on each of Keras's backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from archc.backends.keras.runtime import keras
from archc.ir.graph import Node
from archc.ir.initial import CUT, ZEROS, Distribution
from archc.ir.state import Array


class Draw(keras.initializers.Initializer):
    """Draws from a distribution with a generator that all layers of a network share; zeros without a generator."""

    def __init__(self, distribution: Distribution, generator: np.random.Generator | None) -> None:
        self.distribution, self.generator = distribution, generator

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_: Any) -> Any:
        """Numbers of this shape."""
        if self.generator is None:
            return keras.ops.zeros(shape, dtype)
        return keras.ops.convert_to_tensor(drawn(self.distribution, tuple(shape), self.generator), dtype)

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


def drawn(distribution: Distribution, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Numbers of this shape from a distribution, in 32 bits."""
    kind, scale = distribution
    if kind == "constant":
        return np.full(shape, scale, np.float32)
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
    """The initializers of one layer, by the distributions that its node states.

    `asked` are the weights whose initializer the layer's rule has asked for. The others are drawn afterwards.
    """

    def __init__(self, node: Node, generator: np.random.Generator | None) -> None:
        self._distributions = {weight.name: weight.initial for weight in node.weights}
        self._generator = generator
        self.asked: set[str] = set()

    def __call__(self, name: str) -> Any:
        """The initializer of the weight of this name; zeros where the layer has none, such as a bias."""
        self.asked.add(name)
        distribution = self._distributions.get(name, ZEROS)
        if distribution.kind != "constant":
            return Draw(distribution, self._generator)
        known = {0.0: "zeros", 1.0: "ones"}
        return known.get(distribution.scale) or keras.initializers.Constant(distribution.scale)


def settle(layer: Any) -> None:
    """Replace the initializers of this module, once used, by Keras's own, so that the layer can be saved."""
    for name, used in list(vars(layer).items()):
        if isinstance(used, Draw):
            setattr(layer, name, used.stock())
