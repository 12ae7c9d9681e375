"""A model's tensors as a `State`.

The rule of an operation says which attribute of its layer holds a weight, and in which layout. No shape is guessed at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from archc.backends.keras.layers import RULES
from archc.backends.keras.layouts import Layout
from archc.backends.keras.names import layer_names
from archc.backends.keras.runtime import keras
from archc.ir.graph import Graph
from archc.ir.ops import Weight
from archc.ir.state import Array, State, is_counter

_NOWHERE = Layout("(no layout)")
"""Of a weight that the operation's rule does not know."""


class Held(NamedTuple):
    """One weight of the graph, the variable that holds it, and the variable's name; None where the model has none."""

    key: str
    weight: Weight
    layout: Layout
    variable: Any
    name: str

    @property
    def fits(self) -> bool:
        """Whether the variable is there, in the shape that the graph says."""
        return self.variable is not None and tuple(self.variable.shape) == self.layout.shape(self.weight)


def held(model: Any, graph: Graph) -> Iterator[Held]:
    """Every weight of the graph, in order."""
    found = {layer.name: layer for layer in model.layers}
    names = layer_names(graph)
    for node, inputs in graph.weighted():
        layouts = RULES[type(node.op)].layouts(node.op, inputs)
        layer = names[node.name]
        for weight in node.weights:
            layout = layouts.get(weight.name, _NOWHERE)
            variable = getattr(found.get(layer), layout.attribute, None)
            yield Held(f"{node.name}.{weight.name}", weight, layout, variable, f"{layer}/{layout.attribute}")


def read(model: Any, graph: Graph) -> State:
    """The weights that the model has; see `Builder.read`."""
    return {
        key: _array(layout.canonical(keras.ops.convert_to_numpy(keras.ops.cast(variable, _dtype(variable))), weight))
        for key, weight, layout, variable, _ in filter(lambda one: one.fits, held(model, graph))
    }


def _dtype(variable: Any) -> str:
    return "float32" if variable.dtype == "bfloat16" else str(variable.dtype)  # NumPy lacks bfloat16


def _array(value: Array) -> Array:
    """A copy with rows in order: what Keras gives may be the model's own memory."""
    return np.array(value, order="C")


def write(model: Any, graph: Graph, state: State) -> None:
    """Set the weights that the state holds; see `Builder.write`."""
    known = {one.key: one for one in held(model, graph)}
    for key, value in state.items():
        if is_counter(key):
            continue
        if key not in known:
            raise ValueError(f"`{key}` is no weight of `{graph.name}`")
        if not known[key].fits:
            raise ValueError(
                f"the model has no `{known[key].name}` that fits `{key}`: it was changed after it was built"
            )
        if tuple(value.shape) != known[key].weight.shape:
            raise ValueError(f"`{key}` is {list(value.shape)}, not {list(known[key].weight.shape)}")
    for key, one in known.items():
        if key in state:
            # A copy: JAX takes over NumPy's memory as it is, and the values may be another network's own.
            one.variable.assign(_array(one.layout.ours(state[key], one.weight)))


def changed(model: Any, graph: Graph, keys: Collection[str] | None = None) -> list[str]:
    """The variables that are not what the graph says; see `Builder.changed`.

    With `keys`, additional variables are not looked at: Keras's names do not tell which row a foreign layer replaces.
    """
    every = list(held(model, graph))
    found = [one.name for one in every if not one.fits and (keys is None or one.key in keys)]
    if keys is None:
        ours = {id(one.variable) for one in every}
        found += [v.path for v in model.variables if id(v) not in ours and not v.path.endswith(_STATE)]
    return found


_STATE = "seed_generator_state"
"""How the paths of dropout's random generators end."""


def dtypes(model: Any, graph: Graph) -> dict[str, str]:
    """The types of the weights; see `Builder.dtypes`."""
    return {one.key: str(one.variable.dtype) for one in held(model, graph) if one.variable is not None}


def states(model: Any) -> list[str]:
    """The random generators' states; see `Builder.states`."""
    return [variable.path for variable in model.variables if variable.path.endswith(_STATE)]
