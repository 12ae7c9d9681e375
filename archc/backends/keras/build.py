"""Graph to functional `keras.Model`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from archc.analysis.sizes import takes_any_size
from archc.backends.keras.initialise import Initial, drawn, settle
from archc.backends.keras.layers import Layer, Site, layers
from archc.backends.keras.modules import Network
from archc.backends.keras.names import layer_names
from archc.backends.keras.runtime import keras
from archc.backends.keras.tensors import changed, write
from archc.backends.protocol import not_made
from archc.ir import ops
from archc.ir.graph import GRAPH, Graph, Node
from archc.ir.ops import Weight
from archc.ir.state import Array, State


def build(
    graph: Graph, *, device: Any = None, dtype: Any = None, seed: int | None = None, state: State | None = None
) -> Any:
    """Build a model, channels last; its layers are named as the graph's operations, with `_` for `.`.

    It takes images of any size that the network can take, or only of the spec's where it flattens a feature map.
    Without a seed the weights depend on Python's generator, as those of Keras's own layers do
    (`keras.utils.set_random_seed`).

    Raises:
        SpecError: `unsupported-op`: a rule makes a layer with other tensors than its operation states.
        ValueError: a device, which Keras chooses itself, or a `dtype` that is none of Keras's policies.
    """
    if device is not None:
        raise ValueError("Keras places a model itself: leave `device` out, and build within `keras.device(...)`")
    policy = keras.dtype_policies.get(_dtype_name(dtype)) if dtype is not None else None
    assembler = _Assembler(graph, policy, seed, draws=state is None)
    outputs = assembler.outputs()
    source = assembler.values[graph.input.name]
    model = Network(source, next(iter(outputs.values())) if graph.single else outputs, name=_model_name(graph.name))
    if policy is not None:
        model.dtype_policy = policy  # or it would round its inputs to Keras's default
    setattr(model, GRAPH, graph)
    if wrong := changed(model, graph):
        raise not_made("keras", graph, wrong)
    write(model, graph, assembler.undrawn if state is None else state)
    return model


class _Assembler:
    """Puts the layers of a graph together.

    `undrawn` are the weights that the rules have not asked an initializer for, drawn once all layers are made.
    """

    def __init__(self, graph: Graph, policy: Any, seed: int | None, *, draws: bool) -> None:
        self.graph, self.policy = graph, policy
        self.values: dict[str, Any] = {}
        self.undrawn: dict[str, Array] = {}
        seeded = random.randrange(2**32) if seed is None else seed
        self._generator = np.random.Generator(np.random.SFC64(seeded)) if draws else None  # a third faster
        self._seeds = None if seed is None else np.random.default_rng(seed)
        self._names, self._shapes = layer_names(graph), graph.shapes()
        self._operations = {node.name: node.op for node in graph.nodes}
        self._made: dict[str, Sequence[Layer]] = {}

    def outputs(self) -> dict[str, Any]:
        """Apply all layers; the outputs by name."""
        graph = self.graph
        channels, *size = graph.input.shape
        self.values[graph.input.name] = keras.Input(
            shape=(*((None, None) if takes_any_size(graph) else size), channels),
            name=self._names[graph.input.name],
            dtype=self._input_dtype(),
        )
        missing: list[tuple[str, Weight]] = []
        for region in graph.regions:
            for node in region.nodes():
                # Rows that share weights share the layers that hold them.
                local = node.name.removeprefix(region.name).removeprefix(".")
                owner = region.owner(local) if node.weights else node.name
                if owner not in self._made:
                    self._made[owner], asked = self._layers(node)
                    missing += [(f"{owner}.{one.name}", one) for one in node.weights if one.name not in asked]
                self.values[node.name] = self._applied(self._made[owner], [self.values[name] for name in node.inputs])
        if self._generator is not None:
            self.undrawn = {key: drawn(one.initial, one.shape, self._generator) for key, one in missing}
        return {name: self.values[node] for name, node in graph.outputs.items()}

    def _input_dtype(self) -> str | None:
        op = self.graph.input.op
        if isinstance(op, ops.Input) and op.dtype != "float32":
            return op.dtype
        return None if self.policy is None else self.policy.compute_dtype

    def _layers(self, node: Node) -> tuple[Sequence[Layer], set[str]]:
        """The layers of an operation, and the weights whose initializer its rule asked for."""
        initial = Initial(node, self._generator)
        site = Site(
            self._names[node.name],
            [self._shapes[name] for name in node.inputs],
            self._operations[node.inputs[0]],
            initial,
            self.policy,
            self._seed(node.op),
        )
        return layers(node.op, site), initial.asked

    def _seed(self, op: ops.Op) -> int | None:
        random_ones = ops.Dropout | ops.DropPath | ops.Attention
        if self._seeds is None or not isinstance(op, random_ones):
            return None
        return int(self._seeds.integers(2**31))

    @staticmethod
    def _applied(made: Sequence[Layer], inputs: list[Any]) -> Any:
        value = inputs if len(inputs) > 1 else inputs[0]
        for layer in made:
            value = layer(value)
            settle(layer)
        return value


def _dtype_name(dtype: Any) -> Any:
    if isinstance(dtype, str | keras.dtype_policies.DTypePolicy):
        return dtype
    raise ValueError(f"Keras names its types: `dtype` is such as 'bfloat16' or 'mixed_float16', not {dtype!r}")


def _model_name(name: str) -> str:
    return name.replace(".", "_")
