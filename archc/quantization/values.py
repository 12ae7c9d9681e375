"""Which operations of a network compute in int8, and so which values are held in int8."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from archc.ir.graph import Graph
from archc.ir.ops import (
    Activation,
    Add,
    Concat,
    Conv,
    Flatten,
    Fold,
    Gate,
    GlobalPool,
    Linear,
    Op,
    Pool,
    Resize,
    ResizeToMultiple,
    Unfold,
)
from archc.ir.quantization import Quantization, Range, int8_operations, keeps_range, numbers

INTEGER = (Conv, Linear, Add, Gate, Concat, Pool, GlobalPool, Flatten, Resize, ResizeToMultiple, Unfold, Fold)
"""Operations that runtimes compute in integers. Norms over channels, attention and pixels stay in float."""

FUSED = ("relu", "relu6")
"""Activations that a layer before them does by the range of its result: only their value is held in int8."""

BOUNDED: Mapping[str, Range] = {
    "sigmoid": Range(0.0, 255 / 256),
    "hardsigmoid": Range(0.0, 255 / 256),
    "tanh": Range(-1.0, 127 / 128),
}
"""The ranges of activations whose results are known. LiteRT's integer kernels take no others."""

ACTIVATIONS = (*FUSED, *BOUNDED, "hardswish", "leaky_relu")
"""Activations that are computed in int8, by a table of 256 numbers or by a layer's own bounds."""


def in_integers(op: Op) -> bool:
    """Whether an operation is computed in int8."""
    return isinstance(op, INTEGER) or (isinstance(op, Activation) and op.function in ACTIVATIONS)


def planned(graph: Graph) -> tuple[frozenset[str], frozenset[str]]:
    """The values to hold in int8, and the operations that stay in float."""
    returned = {*graph.outputs.values(), *graph.levels.values()}
    held: set[str] = set()
    floats: set[str] = set()
    for node in graph.nodes[1:]:
        if in_integers(node.op):
            held.update((*numbers(node), node.name))
        else:
            floats.add(node.name)
    for node in graph.nodes:
        reading = graph.readers[node.name]
        if isinstance(node.op, Conv | Linear) and len(reading) == 1 and node.name not in returned:
            (reader,) = reading
            if isinstance(reader.op, Activation) and reader.op.function in FUSED:
                held.discard(node.name)
    return frozenset(held), frozenset(floats)


def range_groups(graph: Graph, held: Collection[str]) -> list[list[str]]:
    """The held values in groups that have one range each: see `keeps_range`."""
    group = {name: [name] for name in held}
    for node in graph.nodes:
        if keeps_range(node.op) and node.name in held:
            for name in numbers(node):
                if name in held and group[name] is not group[node.name]:
                    merged = group[name] + group[node.name]
                    group.update(dict.fromkeys(merged, merged))
    return list({id(names): names for names in group.values()}.values())


def leaving(graph: Graph, quantization: Quantization, floats: Collection[str]) -> Quantization:
    """The same with more operations in float. Values that no int8 operation needs are no longer held in int8."""
    chosen = replace(quantization, floats=quantization.floats | set(floats))
    operations = int8_operations(graph, chosen)
    needed = {name for found in operations.values() for name in (*numbers(found.node), found.result)}
    return replace(chosen, values={name: range for name, range in chosen.values.items() if name in needed})


def operations_of(graph: Graph, rows: Collection[str]) -> frozenset[str]:
    """The operations of rows, by the rows' names such as `c4.0`."""
    return frozenset(node.name for region in graph.regions if region.name in rows for node in region.nodes())
