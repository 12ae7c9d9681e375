"""Rows that are one operation, or little more: pooling, linear, dropout, add, concat, resize."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from archc.blocks.base import Block, Net, activate, channels, image
from archc.document.values import reject
from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.ops import ShapeError
from archc.language.settings import Init
from archc.language.values import Activation, Channels, Kernel, Padding, Probability, Reference, Stride


class Pool(Block):
    """Pooling: the mean over the whole image, or a window's mean or maximum.

    The output of a global pool is an image of one position, C×1×1, as torch's adaptive pools have it; a `linear` row
    after it makes a vector of it.
    """

    kind: Literal["global", "avg", "max"] = "global"
    kernel: Kernel | None = None
    """Window size, for `avg` and `max`."""
    stride: Stride | None = None
    """Default: 1, as in every other row; torch's and Keras's pools have the kernel's size there."""
    padding: Padding | None = None
    """Default: the spec's `padding`."""
    count_padding: bool = True
    """Whether an average counts the padding."""

    @model_validator(mode="after")
    def _window_fits_kind(self) -> Self:
        if self.kind == "global" and (self.kernel or self.stride or self.padding):
            reject(
                "a global pool has no window", "say `kind: avg` or `kind: max`, or remove kernel, stride and padding"
            )
        if self.kind != "global" and self.kernel is None:
            reject(f"a pool of kind `{self.kind}` needs a `kernel`", "kernel: 3")
        return self

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        if self.kind == "global" or self.kernel is None:
            return net.add(None, ops.GlobalPool(), x)
        padding = net.padding(self.padding)
        return net.add(None, ops.Pool(self.kind, self.kernel, self.stride or 1, padding, self.count_padding), x)


class Linear(Block):
    """A fully connected layer; an image is flattened first.

    The weights of a flattened image depend on its size, so the network then takes one input size only. Put a `pool` row
    before it, or say with `flatten: true` that this is meant.
    """

    out: Channels
    """Output features."""
    act: Activation = "none"
    """After the layer; default: none, not the spec's `act`, because most linear layers are classifiers."""
    flatten: bool | None = None
    """Whether an image of more than one position may be flattened: true, or false to make it an error; default: it
    may, with a warning where this ties the network to one input size."""
    bias: bool = True
    init: Init | None = None
    """Differences from the spec's `init`."""

    @classmethod
    def label(cls) -> str:
        return "LinearAct"

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        out = net.count(self.out, channels(x))
        if shape := image(x):
            if self.flatten is False and (shape.height, shape.width) != (1, 1):
                raise ShapeError("an image of more than one position would be flattened, and `flatten` is false")
            x = net.add("flatten", ops.Flatten(), x)
        y = net.add("linear", ops.Linear(out, self.bias), x)
        return activate(net, y, self.act)


class Dropout(Block):
    """Dropout; active only in training."""

    rate: Probability | None = None
    """Default: the spec's `dropout`."""

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        return net.add(None, ops.Dropout(net.spec.dropout if self.rate is None else self.rate), x)


class Add(Block):
    """The sum of several rows: `from: [a, b]`."""

    ports: ClassVar[tuple[str, ...] | None] = None
    act: Activation = "none"

    def lower(self, net: Net, *inputs: Node) -> Node:
        return activate(net, net.add("add", ops.Add(), *inputs), self.act)


class Concat(Block):
    """Several rows joined along the channels: `from: [a, b]`."""

    ports: ClassVar[tuple[str, ...] | None] = None

    def lower(self, net: Net, *inputs: Node) -> Node:
        return net.add("concat", ops.Concat(), *inputs)


class Resize(Block):
    """An image interpolated to the size of another value: `to: input`, `to: c3`."""

    to: Reference
    mode: ops.Interpolation = "bilinear"

    def lower(self, net: Net, *inputs: Node) -> Node:
        x, like = inputs
        return net.add(None, ops.Resize(self.mode), x, like)
