"""What runtimes compute as one: an operation, with the elementwise operations that follow it and nothing else reads.

Runtimes differ in what they fuse, and none fuses across these bounds. So the latency of a unit is measured on every
runtime alike, whatever it fuses inside.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archc.ir.graph import Graph, Node
from archc.ir.ops import Activation, Conv, Gate, Op, Pool, Shape, Window, infer


class Unit(NamedTuple):
    """An operation, and the elementwise ones that follow it.

    `row` is the row of the first operation, and `members` are the names of all in the graph. `inputs` are the shapes
    that the first one reads, `others` what the following ones read besides.
    """

    row: str
    members: tuple[str, ...]
    ops: tuple[Op, ...]
    inputs: tuple[Shape, ...]
    others: tuple[Shape, ...] = ()

    @property
    def name(self) -> str:
        """The name of the first operation."""
        return self.members[0]

    @property
    def key(self) -> Key:
        """What the latency depends on."""
        return self.ops, self.inputs, self.others

    @property
    def output(self) -> Shape:
        """The shape of the first operation's output."""
        return infer(self.ops[0], self.inputs)

    @property
    def head(self) -> str:
        """The kind of the first operation: `conv 3×3 depthwise`."""
        op = self.ops[0]
        words = [op.kind]
        if isinstance(op, Pool | Activation):
            words.append(op.function)
        if op.window:
            words.append("×".join(map(str, op.window.kernel)))
        if isinstance(op, Conv) and op.groups > 1:
            words.append("depthwise" if op.groups == self.inputs[0].channels == op.out else "grouped")
        if isinstance(op, Conv) and self.inputs[0][1:] == (1, 1):
            words.append("of one pixel")  # whose cost is that of reading its weights
        return " ".join(words)

    @property
    def kind(self) -> str:
        """The class of operations that it belongs to: `conv 3×3 depthwise + hard_swish`."""
        return " + ".join([self.head, *(_name(op) for op in self.ops[1:])])

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image; of a window without weights, the numbers that it reads."""
        op, output = self.ops[0], self.output
        window: Window | None = op.window
        return op.macs(output, *self.inputs) or math.prod(output) * (math.prod(window.kernel) if window else 1)

    @property
    def moved(self) -> int:
        """Numbers of activations that are read and written, for one image."""
        return sum(math.prod(shape) for shape in (*self.inputs, *self.others, self.output))

    @property
    def weights(self) -> int:
        """Numbers of weights."""
        return sum(weight.size for weight in self.ops[0].weights(*self.inputs))


Key = tuple[tuple[Op, ...], tuple[Shape, ...], tuple[Shape, ...]]


def _name(op: Op) -> str:
    return op.function if isinstance(op, Activation) else op.kind


def units(graph: Graph) -> tuple[Unit, ...]:
    """The units of a network, in execution order. What runs on a detector's proposals is not among them."""
    shapes = graph.shapes()
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update([*graph.outputs.values(), *graph.levels.values()])
    open_: dict[str, list[Node]] = {}  # the nodes of a unit, by its last one
    found: list[tuple[str, list[Node]]] = []
    for region in graph.regions:
        for node in region.nodes():
            before = _producer(node, open_, readers)
            if before is None:
                nodes = [node]
                found.append((region.name, nodes))
            else:
                nodes = open_.pop(before)
                nodes.append(node)
            open_[node.name] = nodes
    return tuple(_unit(row, nodes, shapes) for row, nodes in found)


def _producer(node: Node, open_: dict[str, list[Node]], readers: Mapping[str, int]) -> str | None:
    """The value whose unit an elementwise operation joins: the one that was computed last, if nothing else reads it."""
    if not node.op.fused:
        return None
    # The factors of a gate are computed before it, but it is as large as its first input.
    given = node.inputs[:1] if isinstance(node.op, Gate) else node.inputs
    fitting = {name for name in given if name in open_ and readers[name] == 1}
    return next((name for name in reversed(open_) if name in fitting), None)


def _unit(row: str, nodes: Sequence[Node], shapes: Mapping[str, Shape]) -> Unit:
    first, *rest = nodes
    names = tuple(node.name for node in nodes)
    others = tuple(shapes[name] for node in rest for name in node.inputs if name not in names)
    inputs = tuple(shapes[name] for name in first.inputs)
    return Unit(row, names, tuple(node.op for node in nodes), inputs, others)
