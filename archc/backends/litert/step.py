"""What a rule works with: one operation of the graph, what it reads, and the file to write it into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archc.backends.litert.flat import Flat, Shape, Tensor
from archc.backends.litert.sizes import NONE, Pads
from archc.document.diagnostics import fail
from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.quantization import LOWEST, Scale
from archc.ir.state import Array


def layout(shape: ops.Shape) -> Shape:
    """The shape of a value in the file, for one image."""
    if isinstance(shape, ops.Image):
        return 1, shape.height, shape.width, shape.channels
    return tuple(shape) if isinstance(shape, ops.Tokens) else (1, shape.channels)


@dataclass
class Step:
    """One operation that is being written."""

    flat: Flat
    node: Node
    inputs: list[Tensor]
    """What it computes with."""
    read: tuple[ops.Shape, ...]
    """The shapes of that in the graph."""
    weights: Mapping[str, Array]
    """Its weights by their local names."""
    owner: str
    """The name that they are kept under."""
    like: Tensor | None = None
    """The image whose height and width its result has, where it has one for that alone."""
    fused: int = 0
    """The activation that its last operator applies, by the schema's number."""
    scale: Scale | None = None
    """In int8: the scale of what it gives."""
    activation: str = ""
    """In int8: the activation that computes as one with it."""
    scales: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """In int8: the scales of weights, by their names in the state."""
    half: bool = False
    """Whether weights are kept in 16 bits."""
    non_negative: frozenset[str] = field(default=frozenset())
    """The values of the graph that cannot be below zero."""

    @property
    def shape(self) -> Shape:
        """The shape of its result in the file."""
        return layout(self.node.shape)

    def image(self, number: int) -> ops.Image:
        """The shape of an input that is an image."""
        shape = self.read[number]
        assert isinstance(shape, ops.Image)
        return shape

    def make(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shape: Shape,
        *,
        dtype: str | None = None,
        scale: Scale | None = None,
        **options: Any,
    ) -> Tensor:
        """Add an operator, and give its result. Its type and scale are those of the first input unless they are given.

        A scale alone means int8.
        """
        first = inputs[0]
        assert first is not None
        if scale is not None:
            dtype = "int8"
        elif dtype is None:
            dtype, scale = first.dtype, first.scale
        made = self.flat.tensor(self.node.name, shape, dtype, scale)
        self.flat.op(kind, inputs, made, **options)
        return made

    def split(self, x: Tensor, shape: Shape, *, axis: int, number: int) -> list[Tensor]:
        """A tensor in equal parts of this shape."""
        parts = [self.flat.tensor(self.node.name, shape, x.dtype, x.scale) for _ in range(number)]
        at = self.flat.constant("axis", np.array(axis, np.int32))
        self.flat.op("SPLIT", [at, x], *parts, numSplits=number)
        return parts

    def parameter(self, name: str, value: Array) -> Tensor:
        """A weight. In 16 bits, it becomes 32 bits again when the file is loaded.

        Raises:
            SpecError: `unsupported-form`: it does not fit 16 bits.
        """
        full = f"{self.owner}.{name}"
        if not self.half:
            return self.flat.constant(full, value.astype(np.float32))
        largest = float(np.abs(value).max(initial=0.0))
        if largest > float(np.finfo(np.float16).max):
            message = f"`{full}` holds {largest:.4g}, which does not fit 16 bits"
            raise fail("unsupported-form", message, help="export in f32")
        kept = self.flat.constant(full, value.astype(np.float16))
        return self.flat.widened(kept)

    def weight_scales(self, key: str, channels: int) -> Sequence[float]:
        """The scales of a weight in int8, one for each output channel.

        Raises:
            ValueError: the quantisation does not state them.
        """
        found = self.scales.get(key, ())
        if len(found) != channels:
            raise ValueError(f"the quantisation states {len(found)} scales for `{key}`, which has {channels} channels")
        return found

    def number(self, value: float) -> Tensor:
        """A constant number."""
        return self.flat.constant(f"{value:g}", np.array(value, np.float32))

    def integers(self, name: str, values: Any) -> Tensor:
        """Constant integers, such as sizes."""
        return self.flat.constant(name, np.array(values, np.int32))

    def axes(self, *axes: int) -> Tensor:
        """Axes to reduce or to permute."""
        return self.integers("axes", axes)

    def binary(self, kind: str, x: Tensor, value: Any, fused: int = 0) -> Tensor:
        """A tensor and a constant of fewer dimensions, such as one number for each channel."""
        constant = self.flat.constant(f"{self.node.name}.{kind.lower()}", np.array(value, np.float32))
        return self.make(kind, [x, constant], x.shape, fusedActivationFunction=fused)

    def size(self, x: Tensor) -> Tensor:
        """The height and width of an image, as the file finds it."""
        shape = self.flat.tensor(self.node.name, (4,), "int32", whole=True)
        self.flat.op("SHAPE", [x], shape, outType=2)
        made = self.flat.tensor(self.node.name, (2,), "int32", whole=True)
        self.flat.op("SLICE", [shape, self.integers("begin", [1]), self.integers("extent", [2])], made)
        return made

    def transpose(self, x: Tensor, *order: int) -> Tensor:
        """The axes in another order."""
        return self.make("TRANSPOSE", [x, self.axes(*order)], tuple([x.shape[axis] for axis in order]))

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """The same numbers in another shape, for any batch."""
        if x.shape == shape:
            return x
        assert math.prod(x.shape) == math.prod(shape)
        new = (-1, *shape[1:])
        return self.make("RESHAPE", [x, self.integers("shape", new)], shape, newShape=np.array(new, np.int32))

    def pad(self, x: Tensor, pads: Pads, *, lowest: bool = False) -> Tensor:
        """An image with more rows and columns of zeros, or of numbers that no maximum takes."""
        if pads == NONE:
            return x
        (top, bottom), (left, right) = pads
        shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
        amounts = self.integers("pads", ((0, 0), (top, bottom), (left, right), (0, 0)))
        if not lowest or self.node.inputs[0] in self.non_negative:
            return self.make("PAD", [x, amounts], shape)
        if x.scale is None:
            value = self.flat.constant("lowest", np.array(-np.inf, np.float32))
        else:
            value = self.flat.constant("lowest", np.array(LOWEST, np.int8), [x.scale.scale], zero=x.scale.zero_point)
        return self.make("PADV2", [x, amounts, value], shape)
