"""A network as it computes in int8, in torch: every number is rounded as `archc.ir.quantization` says."""

from __future__ import annotations

import torch
from torch import Tensor

from archc.backends.torch.interpret import Interpreter, Visit
from archc.ir.graph import Graph, Node
from archc.ir.quantization import HIGHEST, LOWEST, Quantization, Range, int8_operations
from archc.ir.state import State


def rounded(value: Tensor, range: Range) -> Tensor:
    """A value as int8 holds it."""
    scale, zero_point = range.scale
    return torch.fake_quantize_per_tensor_affine(value, scale, zero_point, LOWEST, HIGHEST)


def rounded_weight(weight: Tensor, scales: Tensor) -> Tensor:
    """A weight (out, …) as int8 holds it, by one scale for each output channel."""
    steps = scales.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / steps).round().clamp(-HIGHEST, HIGHEST) * steps


class Simulation(Interpreter):
    """A network in int8. What `visit` sees are the rounded values."""

    def __init__(self, graph: Graph, state: State, quantization: Quantization) -> None:
        super().__init__(graph, state)
        self.quantization = quantization
        for found in int8_operations(graph, quantization).values():
            self.round_weights(found.node)

    def round_weights(self, node: Node) -> None:
        """Round the weights of an operation, if it has any that are held in int8."""
        key = f"{self.graph.owners[node.name]}.weight"
        if key not in self.quantization.weights or not node.weights:
            return
        scales = torch.tensor(self.quantization.weights[key], dtype=torch.float32)
        weight = self.weight(node)
        weight.copy_(rounded_weight(weight, scales))
        if len(node.weights) > 1:
            bias, steps = self.weight(node, "bias"), scales * self.quantization.values[node.inputs[0]].scale.scale
            bias.copy_((bias.double() / steps).round() * steps)

    def held(self, node: Node, value: Tensor) -> Tensor:
        """A value as the operations after it read it."""
        range = self.quantization.values.get(node.name)
        return value if range is None else rounded(value, range)

    def run(self, images: Tensor, visit: Visit | None = None) -> dict[str, Tensor]:
        """As `Interpreter.run`, in int8."""

        def seen(node: Node, value: Tensor) -> Tensor:
            value = self.held(node, value)
            return value if visit is None else visit(node, value)

        return super().run(images, seen)
