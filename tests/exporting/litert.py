"""Files that LiteRT runs beside torch, and the arithmetic of int8 in torch's floats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archc.backends import builder, emitter
from archc.backends.protocol import DEFAULT_FORM, Form
from archc.backends.torch.layers import layer
from archc.ir import ops
from archc.ir.graph import Graph, Node
from archc.ir.quantization import HIGHEST, LOWEST, Quantization, Range, Scale, int8_operations
from archc.ir.state import State
from archc.runtimes import Session, open_file

Array = Any


def written(graph: Graph, state: State, directory: Path, form: Form = DEFAULT_FORM) -> Path:
    """The file of a graph."""
    file = directory / "network.tflite"
    emitter("litert").emit(graph, state, file, form)
    return file


def opened(graph: Graph, state: State, directory: Path, form: Form = DEFAULT_FORM) -> Session:
    """The file of a graph, opened."""
    return open_file(written(graph, state, directory, form), threads=1)


def images(graph: Graph, batch: int, seed: int = 1) -> Array:
    """Random images for a graph."""
    return np.random.default_rng(seed).standard_normal((batch, *graph.input.shape)).astype(np.float32)


def by_torch(graph: Graph, state: State, x: Array, *, double: bool = False) -> Mapping[str, Array]:
    """What torch computes, by output; with `double`, in 64 bits, because deep networks magnify torch's own rounding."""
    if double:
        x, state = x.astype(np.float64), {key: value.astype(np.float64) for key, value in state.items()}
    model = builder("torch").build(graph, state=state, dtype=torch.float64 if double else None).eval()
    with torch.inference_mode():
        found = model(torch.from_numpy(x))
    return {next(iter(graph.outputs)): found.numpy()} if graph.single else {k: v.numpy() for k, v in found.items()}


def error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The largest difference of all outputs, each relative to its largest number."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == np.float32
    return max(
        float(np.abs(found[name] - value).max() / (np.abs(value).max() or 1.0)) for name, value in expected.items()
    )


class Reference:
    """A network in floats, operation by operation. With a quantisation, in the numbers that int8 can hold."""

    def __init__(self, graph: Graph, state: State, quantization: Quantization | None = None) -> None:
        self.graph, self.state = graph, state
        self.quantization = quantization or Quantization()
        self.integers = int8_operations(graph, self.quantization)
        self.merged = {one.node.name for one in self.integers.values() if one.activation is not None}

    def values(self, x: Array) -> dict[str, Array]:
        """Every value by the name of its node."""
        shapes = self.graph.shapes()
        found = {self.graph.input.name: self._held(self.graph.input.name, torch.from_numpy(x))}
        for region in self.graph.regions:
            for local, node in zip(region.subgraph.nodes, region.nodes(), strict=True):
                read = [found[name] for name in node.inputs]
                weights = {
                    one.name: self._weight(node, f"{region.owner(local.name)}.{one.name}") for one in node.weights
                }
                made = _compute(node, read, tuple(shapes[name] for name in node.inputs), weights)
                found[node.name] = self._held(node.name, made)
        return {name: value.numpy() for name, value in found.items()}

    def _held(self, name: str, value: torch.Tensor) -> torch.Tensor:
        held = self.quantization.values.get(name)
        return value if held is None else rounded(value, held.scale)

    def _weight(self, node: Node, key: str) -> torch.Tensor:
        value = torch.from_numpy(self.state[key])
        if node.name not in self.integers or key not in self.quantization.weights:
            return value
        scales = torch.tensor(self.quantization.weights[key]).reshape(-1, *[1] * (value.ndim - 1))
        return torch.round(value / scales).clamp(-HIGHEST, HIGHEST) * scales


def rounded(value: torch.Tensor, scale: Scale) -> torch.Tensor:
    """The nearest numbers that int8 holds."""
    steps = torch.round(value.double() / scale.scale) + scale.zero_point
    return ((steps.clamp(LOWEST, HIGHEST) - scale.zero_point) * scale.scale).float()


def _compute(node: Node, read: list[Any], shapes: tuple[ops.Shape, ...], weights: Mapping[str, Any]) -> Any:
    if isinstance(node.op, ops.Add):
        return sum(read[1:], start=read[0])
    if isinstance(node.op, ops.Gate):
        return read[0] * read[1]
    if isinstance(node.op, ops.Concat):
        return torch.cat(read, 1)
    module = layer(node.op, shapes, {}).eval()
    module.load_state_dict(dict(weights), strict=False)
    with torch.no_grad():
        return module(*read)


def quantized(graph: Graph, state: State, x: Array, *, merge: bool = True) -> Quantization:
    """The ranges of all values on some images, and scales for all weights.

    Args:
        merge: whether an activation is computed as one with the layer that it alone reads.
    """
    values = Reference(graph, state).values(x)
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    held, scales = {}, {}
    for node in graph.nodes:
        after = readers.get(node.name, [])
        inner = len(after) == 1 and isinstance(after[0].op, ops.Activation) and node.name not in graph.outputs.values()
        if merge and inner and isinstance(node.op, ops.Conv | ops.Linear):
            continue
        held[node.name] = Range(float(values[node.name].min()), float(values[node.name].max()))
    for key, weight in graph.tensors():
        if key.endswith(".weight") and len(weight.shape) > 1:
            largest = np.abs(state[key].reshape(len(state[key]), -1)).max(1) / HIGHEST
            scales[key] = tuple(np.where(largest == 0, 1.0, largest).tolist())
    return Quantization(held, scales)
