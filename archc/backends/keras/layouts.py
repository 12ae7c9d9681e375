"""How Keras's layers keep weights: the attribute that holds each, and its axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from archc.ir import ops
from archc.ir.ops import Shape, Weight
from archc.ir.state import Array

Change = Callable[[Array, Weight], Array]


class Layout(NamedTuple):
    """The layer's attribute that holds a weight, and how its array becomes canonical and back."""

    attribute: str
    canonical: Change = lambda value, weight: value
    ours: Change = lambda value, weight: value

    def shape(self, weight: Weight) -> tuple[int, ...]:
        """The shape in which the layer keeps a weight."""
        shape: tuple[int, ...] = self.ours(np.broadcast_to(np.float32(0), weight.shape), weight).shape
        return shape


Layouts = Callable[[Any, Sequence[Shape]], Mapping[str, Layout]]
"""The layouts of an operation's weights by name, for inputs of these shapes."""


def none(op: ops.Op, inputs: Sequence[Shape]) -> Mapping[str, Layout]:
    """Of an operation without weights."""
    return {}


def conv(op: ops.Conv, inputs: Sequence[Shape]) -> Mapping[str, Layout]:
    """[kh, kw, in / groups, out]; depthwise ones [kh, kw, in, multiplier]."""
    if is_depthwise(op, inputs):
        return {"weight": Layout("kernel", _from_depthwise, _to_depthwise(op.out // op.groups)), "bias": Layout("bias")}
    return {"weight": Layout("kernel", *_axes(3, 2, 0, 1)), "bias": Layout("bias")}


def linear(op: ops.Linear, inputs: Sequence[Shape]) -> Mapping[str, Layout]:
    """[in, out]."""
    return {"weight": Layout("kernel", *_axes(1, 0)), "bias": Layout("bias")}


def norm(op: ops.BatchNorm | ops.LayerNorm, inputs: Sequence[Shape]) -> Mapping[str, Layout]:
    """One number for each channel."""
    moving = {"running_mean": Layout("moving_mean"), "running_var": Layout("moving_variance")}
    affine = {"weight": Layout("gamma"), "bias": Layout("beta")}
    return {**affine, **moving} if isinstance(op, ops.BatchNorm) else affine


def is_depthwise(op: ops.Conv, inputs: Sequence[Shape]) -> bool:
    """Whether Keras has a layer of its own for a convolution of so many groups."""
    return op.groups > 1 and op.groups == inputs[0].channels


def _axes(*order: int) -> tuple[Change, Change]:
    """Axes in another order, and back."""
    back = tuple(int(axis) for axis in np.argsort(order))
    return lambda value, weight: value.transpose(order), lambda value, weight: value.transpose(back)


def _from_depthwise(value: Array, weight: Weight) -> Array:
    """[kh, kw, in, multiplier] to [in·multiplier, 1, kh, kw]."""
    return value.transpose(2, 3, 0, 1).reshape(weight.shape)


def _to_depthwise(multiplier: int) -> Change:
    def change(value: Array, weight: Weight) -> Array:
        out, _, height, width = weight.shape
        return value.reshape(out // multiplier, multiplier, height, width).transpose(2, 3, 0, 1)

    return change
