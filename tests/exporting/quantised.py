"""A quantisation of a network by its values' smallest and largest numbers, and what torch computes with it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from archc.backends.torch import BACKEND
from archc.ir import Graph
from archc.ir.ops import Activation, Conv, Linear
from archc.ir.quantization import Quantization, Range, int8_operations, keeps_range
from archc.ir.state import Array, State


def quantization(graph: Graph, state: State, images: Array) -> Quantization:
    """Everything in int8; a layer and the activation that alone reads it compute as one."""
    values = _run(graph, state, torch.from_numpy(images), Quantization())
    readers = {name: [node for node in graph.nodes if name in node.inputs] for name in values}
    held: dict[str, Range] = {}
    for node in graph.nodes:
        merged = len(readers[node.name]) == 1 and isinstance(readers[node.name][0].op, Activation)
        if isinstance(node.op, Conv | Linear) and merged:
            continue
        value = values[node.name]
        of_input = keeps_range(node.op) and node.inputs[0] in held
        held[node.name] = held[node.inputs[0]] if of_input else Range(float(value.min()), float(value.max()))
    weights = {
        f"{node.name}.weight": tuple(
            (np.abs(state[f"{node.name}.weight"]).reshape(node.shape.channels, -1).max(1) / 127).tolist()
        )
        for node in graph.nodes
        if isinstance(node.op, Conv | Linear)
    }
    return Quantization(held, weights)


def reference(graph: Graph, state: State, images: Array, found: Quantization) -> dict[str, Array]:
    """The outputs in 32-bit floats, every held value and weight rounded to what int8 can hold."""
    rounded = dict(state)
    for name in int8_operations(graph, found):
        key = f"{name}.weight"
        if key in found.weights:
            weight = torch.from_numpy(state[key])
            scales = torch.tensor(found.weights[key])
            zeros = torch.zeros(len(scales), dtype=torch.int32)
            rounded[key] = torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -127, 127).numpy()
    values = _run(graph, rounded, torch.from_numpy(images), found)
    return {name: values[value].numpy() for name, value in graph.outputs.items()}


def _run(graph: Graph, state: State, images: Tensor, found: Quantization) -> dict[str, Tensor]:
    operations = BACKEND.operations(BACKEND.build(graph, state=state).eval())
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        for node in graph.nodes:
            inputs = [values[name].clone() for name in node.inputs]  # some layers work in place
            value = operations[node.name](*inputs) if inputs else images
            if node.name in found.values:
                scale, zero = found.values[node.name].scale
                value = torch.fake_quantize_per_tensor_affine(value, scale, zero, -128, 127)
            values[node.name] = value
    return values
