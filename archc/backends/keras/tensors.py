"""A model's tensors in the IR's canonical layouts, by the names of its operations' weights.

Which layer keeps a weight, and how, follows from the operation alone; no shape is ever guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from archc.backends.keras.layers import is_depthwise
from archc.backends.keras.names import layer_names
from archc.backends.keras.runtime import keras
from archc.ir import ops
from archc.ir.graph import Graph
from archc.ir.ops import Shape, Weight

Array = Any
Change = Callable[[Array, Weight], Array]


class Layout(NamedTuple):
    """The layer's attribute that holds a weight, and how it becomes canonical and back."""

    attribute: str
    canonical: Change = lambda value, weight: value
    ours: Change = lambda value, weight: value


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


def layouts(op: ops.Op, inputs: Sequence[Shape]) -> Mapping[str, Layout]:
    """How the layer of an operation keeps each weight."""
    match op:
        case ops.Conv() if is_depthwise(op, inputs):
            multiplier = op.out // op.groups
            return {"weight": Layout("kernel", _from_depthwise, _to_depthwise(multiplier)), "bias": Layout("bias")}
        case ops.Conv():
            return {"weight": Layout("kernel", *_axes(3, 2, 0, 1)), "bias": Layout("bias")}
        case ops.Linear():
            return {"weight": Layout("kernel", *_axes(1, 0)), "bias": Layout("bias")}
        case ops.BatchNorm():
            return {
                "weight": Layout("gamma"),
                "bias": Layout("beta"),
                "running_mean": Layout("moving_mean"),
                "running_var": Layout("moving_variance"),
            }
        case ops.LayerNorm():
            return {"weight": Layout("gamma"), "bias": Layout("beta")}
        case _:
            raise AssertionError(f"no layout of the weights of {op}")


class Held(NamedTuple):
    """One weight of the graph, and the variable that holds it; None where the model has none."""

    key: str
    weight: Weight
    layout: Layout
    variable: Any


def held(model: Any, graph: Graph) -> Iterator[Held]:
    """Every weight of the graph in order."""
    found = {layer.name: layer for layer in model.layers}
    names = layer_names(graph)
    for node, inputs in graph.weighted():
        there = layouts(node.op, inputs)
        for weight in node.weights:
            layout = there[weight.name]
            variable = getattr(found.get(names[node.name]), layout.attribute, None)
            yield Held(f"{node.name}.{weight.name}", weight, layout, variable)


def fitting(model: Any, graph: Graph) -> set[str]:
    """The weights that the model has, in their shapes."""
    return {key for key, weight, layout, variable in held(model, graph) if _fits(variable, weight, layout)}


def _fits(variable: Any, weight: Weight, layout: Layout) -> bool:
    canonical = np.broadcast_to(np.float32(0), weight.shape)
    return variable is not None and tuple(variable.shape) == layout.ours(canonical, weight).shape


def read(model: Any, graph: Graph, keys: Container[str]) -> dict[str, Array]:
    """These weights as NumPy arrays in canonical layout."""
    return {
        key: layout.canonical(keras.ops.convert_to_numpy(keras.ops.cast(variable, _dtype(variable))), weight)
        for key, weight, layout, variable in held(model, graph)
        if key in keys
    }


def _dtype(variable: Any) -> str:
    return "float32" if variable.dtype == "bfloat16" else str(variable.dtype)  # NumPy lacks bfloat16


def write(model: Any, graph: Graph, values: Mapping[str, Array]) -> None:
    """Set the weights that are given, in canonical layout."""
    for key, weight, layout, variable in held(model, graph):
        if key in values:
            # A copy: JAX takes NumPy's memory over as it is, and the values may be another network's own.
            variable.assign(np.array(layout.ours(values[key], weight), order="C"))


def skipped(model: Any, graph: Graph) -> tuple[list[str], list[str]]:
    """The variables that are no weight of the graph: the state of random generators, and what was added since."""
    ours = {id(variable) for *_, variable in held(model, graph)}
    states: list[str] = []
    others: list[str] = []
    for variable in model.variables:
        if id(variable) not in ours:
            (states if variable.path.endswith("seed_generator_state") else others).append(variable.path)
    return states, others
