"""Small networks for what the samples of `tests.backends.operations` leave out: settings that change a rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from archc.ir import Builder, Graph, Node, ops
from archc.ir.state import State
from tests.backends.operations import SAMPLES, Make

ACTIVATIONS = (
    "relu",
    "relu6",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "silu",
    "gelu",
    "tanh",
    "leaky_relu",
    "elu",
    "mish",
)


def one(op: ops.Op) -> Make:
    """A network of one operation."""
    return lambda net, x: net.add("op", op, x)


def resized(mode: ops.Interpolation, size: ops.Pair) -> Make:
    """An image interpolated from a small one: each axis of the input over `size`."""

    def make(net: Builder, x: Node) -> Node:
        return net.add("op", ops.Resize(mode), net.add("small", ops.Pool("max", size, size[0], "same"), x), x)

    return make


def tokens(net: Builder, x: Node) -> Node:
    """Tokens through a layer without a bias."""
    return net.add("op", ops.Linear(5, bias=False), net.add("tokens", ops.Unfold((2, 3)), x))


def three(net: Builder, x: Node) -> Node:
    """A sum of three."""
    first, second = net.add("first", ops.Activation("relu"), x), net.add("second", ops.Activation("tanh"), x)
    return net.add("op", ops.Add(), first, x, second)


CASES: Mapping[str, Make] = {
    **SAMPLES,
    **{name: one(ops.Activation(name)) for name in ACTIVATIONS},
    "same": one(ops.Conv(4, (3, 5), 2, padding="same")),
    "same, dilated": one(ops.Conv(4, (3, 5), 2, dilation=2, padding="same")),
    "same, dilated, no stride": one(ops.Conv(4, (5, 3), 1, dilation=3, padding="same", bias=True)),
    "same, kernel of 1": one(ops.Conv(4, (1, 1), 2, padding="same")),
    "valid": one(ops.Conv(6, (3, 5), 1, groups=6, padding="valid")),
    "max, same": one(ops.Pool("max", (3, 3), 2, "same")),
    "mean with padding": one(ops.Pool("avg", (3, 3), 2, "symmetric", True)),
    "mean without padding": one(ops.Pool("avg", (3, 3), 2, "symmetric", False)),
    "mean, same, with padding": one(ops.Pool("avg", (2, 3), 2, "same", True)),
    "mean, same, without padding": one(ops.Pool("avg", (2, 3), 2, "same", False)),
    "nearest, whole": resized("nearest", (2, 2)),
    "nearest, odd": resized("nearest", (3, 5)),
    "bilinear, odd": resized("bilinear", (3, 5)),
    "already a multiple": one(ops.ResizeToMultiple((4, 3))),
    "tokens": tokens,
    "sum of three": three,
    "frozen": one(ops.BatchNorm(1e-3, 0.1, frozen=True)),
}
"""A network around every operation, and around every setting of one that changes its rule."""


def numbers(graph: Graph) -> State:
    """Weights that no default would give; variances are positive."""
    rng = np.random.default_rng(0)
    return {key: rng.uniform(0.5, 1.5, weight.shape).astype(np.float32) for key, weight in graph.tensors()}
