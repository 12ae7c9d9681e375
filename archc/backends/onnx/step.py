"""What the rule of an operation gets: its inputs, its weights, and the ways to add nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from archc.backends.onnx.writer import Writer
from archc.ir.graph import Node
from archc.ir.ops import Image, Shape
from archc.ir.state import Array


@dataclass
class Step:
    """One operation that is being written.

    Its last node must have the operation's name, `name`, which is the default of `make`. Where the operation changes
    nothing, the rule may return an input.
    """

    writer: Writer
    node: Node
    name: str
    inputs: list[str]
    """The values that it reads."""
    shapes: tuple[Shape, ...]
    """Their shapes for one image, of the graph's size."""
    weights: dict[str, Array]
    owner: str
    """What the names of its weights start with."""
    any_size: bool
    """Whether the file takes images of any size; heights and widths in shapes then mean nothing."""
    dtype: Any = np.float32
    """The type of the numbers that are computed with."""
    parameter: Callable[[Step, str, Array], str] | None = None
    """Writes a weight some other way, as in int8: the step, the weight's name and its numbers to a value."""

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    def image(self, number: int = 0) -> Image:
        """The shape of an input that is an image."""
        shape = self.shapes[number]
        assert isinstance(shape, Image)
        return shape

    def make(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add the operation's last node."""
        return self.writer.add(kind, inputs, self.name, **attributes)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node on the way to it."""
        return self.writer.add(kind, inputs, **attributes)

    def number(self, value: Any) -> str:
        """A constant number, or array of numbers, to compute with."""
        return self.writer.constant(np.asarray(value, self.dtype))

    def join(self, *parts: int | str) -> str:
        """A vector of integers, of numbers and of vectors that are computed."""
        if all(isinstance(part, int) for part in parts):
            return self.writer.integers(*(part for part in parts if isinstance(part, int)))
        vectors = [self.writer.integers(part) if isinstance(part, int) else part for part in parts]
        return self.add("Concat", *vectors, axis=0)

    def weight(self, name: str, change: Callable[[Array], Array] | None = None) -> str:
        """A weight as a value. `change` makes the layout that the operator wants, the same for all who share it."""
        value = self.weights[name] if change is None else change(self.weights[name])
        if self.parameter is not None:
            return self.parameter(self, name, value)
        return self.writer.constant(value.astype(self.dtype, copy=False), f"{self.owner}.{name}")
