"""Graph to functional `keras.Model`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from archc.backends.keras.initialise import Initial, settle
from archc.backends.keras.layers import Layer, Site, layers
from archc.backends.keras.modules import Network
from archc.backends.keras.names import layer_names
from archc.backends.keras.runtime import keras
from archc.ir import ops
from archc.ir.graph import GRAPH, Graph


def build(graph: Graph, *, device: Any = None, dtype: Any = None, seed: int | None = None) -> Any:
    """Build a model, channels last; its layers are named as the graph's operations, with `_` for `.`.

    It takes images of any size that the network can take, or, where it flattens a feature map, of the spec's alone.
    Without a seed the weights depend on Python's generator, as those of Keras's own layers do
    (`keras.utils.set_random_seed`).

    Raises:
        ValueError: a device, which Keras chooses itself, or a `dtype` that is none of Keras's policies.
    """
    if device is not None:
        raise ValueError("Keras places a model itself: leave `device` out, and build within `keras.device(...)`")
    policy = keras.dtype_policies.get(_dtype_name(dtype)) if dtype is not None else None
    seeded = random.randrange(2**32) if seed is None else seed
    generator = np.random.Generator(np.random.SFC64(seeded))  # a third faster than NumPy's default
    names, shapes = layer_names(graph), graph.shapes()
    operations = {node.name: node.op for node in graph.nodes}
    channels, *size = graph.input.shape
    source = keras.Input(
        shape=(*((None, None) if takes_any_size(graph) else size), channels),
        name=names[graph.input.name],
        dtype=None if policy is None else policy.compute_dtype,
    )
    values = {graph.input.name: source}
    made: dict[str, Sequence[Layer]] = {}
    for region in graph.regions:
        for node in region.nodes():
            local = node.name.removeprefix(region.name).removeprefix(".")
            owner = region.owner(local) if node.weights else node.name
            if owner not in made:
                made[owner] = layers(
                    node.op,
                    Site(
                        names[node.name],
                        [shapes[name] for name in node.inputs],
                        operations[node.inputs[0]],
                        Initial(node, generator),
                        policy,
                    ),
                )
            inputs = [values[name] for name in node.inputs]
            value = inputs if len(inputs) > 1 else inputs[0]
            for layer in made[owner]:
                value = layer(value)
                settle(layer)
            values[node.name] = value
    outputs = {name: values[node] for name, node in graph.outputs.items()}
    model = Network(source, next(iter(outputs.values())) if graph.single else outputs, name=_model_name(graph.name))
    if policy is not None:
        model.dtype_policy = policy  # or it would round what it is given to Keras's default
    setattr(model, GRAPH, graph)
    return model


def _dtype_name(dtype: Any) -> Any:
    if isinstance(dtype, str | keras.dtype_policies.DTypePolicy):
        return dtype
    raise ValueError(f"Keras names its types: `dtype` is such as 'bfloat16' or 'mixed_float16', not {dtype!r}")


def _model_name(name: str) -> str:
    return name.replace(".", "_")


def takes_any_size(graph: Graph) -> bool:
    """Whether no layer's weights depend on the input's height and width: none flattens what has not been pooled."""
    sized: dict[str, bool] = {graph.input.name: True}
    for node in graph.nodes[1:]:
        like = node.inputs[-1] if isinstance(node.op, ops.Resize | ops.Fold) else node.inputs[0]
        sized[node.name] = sized[like] and not isinstance(node.op, ops.GlobalPool)
        if isinstance(node.op, ops.Flatten) and sized[node.name]:
            return False
    return True
