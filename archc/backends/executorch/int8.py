"""A network with its int8 values and weights, as a module that `torch.export` writes down for XNNPACK.

XNNPACK takes an operation as one in int8 where it reads dequantised values and its result is quantised. So every held
value is quantised once, and dequantised anew for each operation that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  (it defines the operations that are used here)

from archc.ir.graph import Graph
from archc.ir.ops import Activation
from archc.ir.quantization import HIGHEST, LOWEST, Int8, Quantization, Range, Scale, int8_operations

FUSED = ("relu", "relu6")
"""The activations that XNNPACK computes as one with a layer in int8."""

_FARTHEST = 1e6
"""An activation that still changes beyond this does not end."""

_OPS = torch.ops.quantized_decomposed


class Int8Network(nn.Module):
    """Computes a graph operation by operation, with the values that a quantization names in int8.

    The module of the graph gives its layers, and gets int8 weights.
    """

    def __init__(
        self,
        network: nn.Module,
        operations: Mapping[str, Callable[..., Tensor]],
        graph: Graph,
        quantization: Quantization,
    ) -> None:
        super().__init__()
        self.network = network
        self.graph = graph
        self.operations = operations
        self.held = {name: found.scale for name, found in quantization.values.items()}
        self.numbers: dict[str, int] = {}
        for name, int8 in int8_operations(graph, quantization).items():
            layer = operations[name]
            key = f"{graph.owners[name]}.weight"
            if key in quantization.weights and isinstance(layer, nn.Module):
                self._hold(name, layer, quantization.weights[key])
            if int8.activation is not None:
                self._between(int8, operations[int8.activation.name])

    def _hold(self, name: str, layer: nn.Module, scales: tuple[float, ...]) -> None:
        """Put a layer's weight into int8."""
        number = self.numbers[name] = len(self.numbers)
        self.register_buffer(f"scales{number}", torch.tensor(scales, dtype=torch.float32))
        self.register_buffer(f"zeros{number}", torch.zeros(len(scales), dtype=torch.int64))
        weight = layer.weight
        if isinstance(weight, nn.Parameter) and weight.is_floating_point():
            layer.weight = nn.Parameter(quantized_weight(weight.detach(), scales), requires_grad=False)

    def _between(self, int8: Int8, activation: Callable[..., Tensor]) -> None:
        """Hold what a layer gives to its activation, too, where XNNPACK does not compute the two as one."""
        assert int8.activation is not None
        assert isinstance(int8.activation.op, Activation)
        if int8.activation.op.function not in FUSED:
            self.held[int8.node.name] = felt(activation, self.held[int8.result]).scale

    def forward(self, image: Tensor) -> Tensor | dict[str, Tensor]:
        """Images to what the graph's module returns."""
        values = {self.graph.input.name: self._store(self.graph.input.name, image)}
        for node in self.graph.nodes[1:]:
            inputs = [self._load(name, values[name]) for name in node.inputs]
            values[node.name] = self._store(node.name, self._compute(node.name, inputs))
        found = {name: self._load(value, values[value]) for name, value in self.graph.outputs.items()}
        return next(iter(found.values())) if self.graph.single else found

    def _compute(self, name: str, inputs: list[Tensor]) -> Tensor:
        operation = self.operations[name]
        if name not in self.numbers:
            return operation(*inputs)
        assert isinstance(operation, nn.Module)
        scales, zeros = (getattr(self, f"{kind}{self.numbers[name]}") for kind in ("scales", "zeros"))
        weight = _OPS.dequantize_per_channel(operation.weight, scales, zeros, 0, -HIGHEST, HIGHEST, torch.int8)
        result: Tensor = torch.func.functional_call(operation, {"weight": weight}, tuple(inputs))
        return result

    def _store(self, name: str, value: Tensor) -> Tensor:
        if name not in self.held:
            return value
        scale, zero = self.held[name]
        stored: Tensor = _OPS.quantize_per_tensor(value, scale, zero, LOWEST, HIGHEST, torch.int8)
        return stored

    def _load(self, name: str, value: Tensor) -> Tensor:
        if name not in self.held:
            return value
        scale, zero = self.held[name]
        loaded: Tensor = _OPS.dequantize_per_tensor(value, scale, zero, LOWEST, HIGHEST, torch.int8)
        return loaded


def quantized_weight(weight: Tensor, scales: tuple[float, ...]) -> Tensor:
    """A weight's numbers in int8, from -127 to 127, by one scale for each output channel."""
    steps = np.asarray(scales, dtype=np.float32).reshape(-1, *[1] * (weight.ndim - 1))
    rounded = np.clip(np.rint(weight.numpy() / steps), -HIGHEST, HIGHEST)
    return torch.from_numpy(rounded.astype(np.int8))


def felt(activation: Callable[..., Tensor], result: Scale) -> Range:
    """The range of inputs outside of which an activation's int8 result no longer changes."""

    def codes(inputs: Tensor) -> Tensor:
        return (activation(inputs) / result.scale + result.zero_point).round().clamp(LOWEST, HIGHEST)

    reach = 1.0
    while reach < _FARTHEST:
        ends = codes(torch.tensor([-2 * reach, -reach, reach, 2 * reach]))
        if ends[0] == ends[1] and ends[2] == ends[3]:
            break
        reach *= 2
    inputs = torch.linspace(-reach, reach, 1 << 14)
    found = codes(inputs.clone())
    changing = torch.nonzero(found.diff()).flatten()
    if not len(changing):
        return Range(0.0, 0.0)
    return Range(float(inputs[changing[0]]), float(inputs[changing[-1] + 1]))
