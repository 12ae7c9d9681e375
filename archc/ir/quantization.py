"""How a network computes in 8-bit integers: which values are held so, by which scales.

A value is a node's output, by the node's name. One that `values` names is held in int8, by one scale for the whole
tensor: `real = scale · (q - zero_point)` with q from -128 to 127. All others stay in float. What follows from that is
the same for every target (`int8_operations`): an operation computes in int8 where all that it reads and what it gives
is held in int8. A convolution or linear layer may give its value to an activation instead that alone reads it and that
is held in int8; the two then compute as one.

Weights of such an operation are held in int8 too, symmetrically, by one scale for each output channel (`weights`).
Their numbers are those of the State, rounded to the nearest, from -127 to 127. Biases are int32, by the product of the
input's and the weight's scales.

An operation that is named in `floats` computes in float although the values around it are held in int8: they are made
float before it, and its result is made int8 after it.

Some operations only move numbers, or take the largest or the mean of some (`keeps_range`). In int8 they have one range
for what they read and what they give, because runtimes compute them without a change of scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from archc.ir.graph import Graph, Node
from archc.ir.ops import (
    Activation,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    Fold,
    Linear,
    Op,
    Pool,
    Resize,
    ResizeToMultiple,
    Unfold,
)

LOWEST, HIGHEST = -128, 127
"""The range of int8."""


class Scale(NamedTuple):
    """How real numbers are held in int8: `real = scale · (q - zero_point)`."""

    scale: float
    zero_point: int


class Range(NamedTuple):
    """The smallest and the largest number that an int8 value stands for. Zero lies inside."""

    low: float
    high: float

    @property
    def scale(self) -> Scale:
        """The scale that covers the range, with zero held exactly."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = (high - low) / (HIGHEST - LOWEST) or 1.0
        return Scale(scale, max(LOWEST, min(HIGHEST, round(LOWEST - low / scale))))


@dataclass(frozen=True)
class Quantization:
    """The int8 values of a network and the scales of its int8 weights.

    `values` maps names of nodes to ranges, `weights` keys of weights, such as `c4.0.expand.conv.weight`, to one scale
    for each output channel. `floats` are operations that compute in float all the same.
    """

    values: Mapping[str, Range] = field(default_factory=dict)
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    floats: frozenset[str] = frozenset()


class Int8(NamedTuple):
    """An operation that computes in int8. `result` is the value that it gives: its own, or its activation's."""

    node: Node
    activation: Node | None
    result: str


def keeps_range(op: Op) -> bool:
    """Whether an operation has, in int8, one range for all that it reads and for its result."""
    return isinstance(op, Pool | Flatten | Concat | Resize | ResizeToMultiple | Unfold | Fold | Dropout | DropPath)


def numbers(node: Node) -> tuple[str, ...]:
    """The inputs whose numbers an operation computes with; of others it only takes the size."""
    return node.inputs[:1] if isinstance(node.op, Resize | Fold) else node.inputs


def int8_operations(graph: Graph, quantization: Quantization) -> Mapping[str, Int8]:
    """The operations that compute in int8, by name; an activation that computes as one with its layer is not listed."""
    nodes = {node.name: node for node in graph.nodes}
    returned = Counter([*graph.outputs.values(), *graph.levels.values()])
    held = quantization.values
    found: dict[str, Int8] = {}
    merged: set[str] = set()
    for node in nodes.values():
        if not node.inputs or node.name in merged or node.name in quantization.floats:
            continue
        if any(name not in held for name in numbers(node)):
            continue
        if node.name in held:
            found[node.name] = Int8(node, None, node.name)
        elif isinstance(node.op, Conv | Linear) and len(graph.readers[node.name]) == 1 and not returned[node.name]:
            (reader,) = graph.readers[node.name]
            in_float = reader.name in quantization.floats
            if isinstance(reader.op, Activation) and reader.name in held and not in_float:
                found[node.name] = Int8(node, reader, reader.name)
                merged.add(reader.name)
    return found
