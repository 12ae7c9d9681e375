"""int8 in ONNX: floats between `QuantizeLinear` and `DequantizeLinear`, which runtimes merge with the operation.

A value that is held in int8 is rounded to it and made float again where it is computed; all who read it read that. A
weight is stored in int8 and made float. A runtime recognises an operation between the two and computes it in integers.

Values are written as unsigned integers, 128 larger than int8's, which changes no result: on x86, ONNX Runtime merges
signed ones only where one operation alone reads a value, and so nothing beside a residual.
"""

from __future__ import annotations

import numpy as np

from archc.backends.onnx.rules import RULES
from archc.backends.onnx.step import Step
from archc.backends.onnx.writer import Writer
from archc.document.diagnostics import fail
from archc.ir import ops
from archc.ir.graph import Graph, Node
from archc.ir.quantization import HIGHEST, LOWEST, Quantization, Scale, int8_operations
from archc.ir.quantization import numbers as numbers_of
from archc.ir.state import Array

_INT32 = 2**31 - 1


class Quantizer:
    """Writes a network's operations as a quantisation says."""

    def __init__(self, writer: Writer, graph: Graph, quantization: Quantization) -> None:
        self._writer, self._graph, self._quantization = writer, graph, quantization
        self._operations = int8_operations(graph, quantization)
        self._merged = {found.result for found in self._operations.values() if found.activation is not None}

    def write(self, step: Step) -> str:
        """Write an operation; the value of its result, rounded if it is held in int8."""
        name = step.node.name
        if name in self._operations and isinstance(step.node.op, ops.Conv | ops.Linear):
            step.parameter = self._parameter
        if self._mistaken(step.node):
            step.inputs[0] = self._unmerged(step.node.inputs[0], step.x)
        if name in self._merged and self._saturates(step.node.op, name):
            return self.held(name, step.x)
        value = RULES[type(step.node.op)](step, step.node.op)
        held = self._quantization.values
        if value == step.x and held.get(name) == held.get(step.node.inputs[0]):
            return value  # nothing was done, and it is rounded already
        return self.held(name, value)

    def held(self, name: str, value: str) -> str:
        """A node's result, by way of int8 if it is held so."""
        if name not in self._quantization.values:
            return value
        scale = self._quantization.values[name].scale
        numbers = (
            self._writer.constant(np.float32(scale.scale)),
            self._writer.constant(np.uint8(scale.zero_point - LOWEST)),
        )
        rounded = self._writer.add("QuantizeLinear", [value, *numbers])
        return self._writer.add("DequantizeLinear", [rounded, *numbers])

    def _mistaken(self, node: Node) -> bool:
        """Whether a runtime would take an operation in float for one in int8."""
        held = self._quantization.values
        layer = isinstance(node.op, ops.Conv | ops.Linear)  # what follows it may be held in int8
        return (
            node.name not in self._operations
            and (layer or node.name in held)
            and all(name in held for name in numbers_of(node))
        )

    def _unmerged(self, name: str, value: str) -> str:
        """A value that is held in int8, for an operation that computes in float.

        It is clipped to the numbers that it can have, which changes none. ONNX Runtime would otherwise take a result
        that is held in int8, too, as leave to compute in integers, and would round the operation's weights itself.
        """
        scale = self._quantization.values[name].scale
        ends = [np.float32(end - scale.zero_point) * np.float32(scale.scale) for end in (LOWEST, HIGHEST)]
        return self._writer.add("Clip", [value, *(self._writer.constant(end) for end in ends)])

    def _saturates(self, op: ops.Op, name: str) -> bool:
        """Whether rounding to int8 clips just as an activation does, so that the activation needs no node."""
        known = self._quantization.values[name]
        if not isinstance(op, ops.Activation) or known.scale.zero_point != LOWEST:
            return False
        return op.function == "relu" or (op.function == "relu6" and known.high <= 6)

    def _parameter(self, step: Step, name: str, value: Array) -> str:
        key = f"{step.owner}.{name}"
        scales = np.asarray(self._quantization.weights[f"{step.owner}.weight"], np.float64)
        if name == "bias":
            return self._bias(step, key, value, scales)
        # The layout may have the output channels last.
        axis = 0 if value.shape == step.weights[name].shape and value.shape[0] == len(scales) else value.ndim - 1
        spread = scales.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        numbers = np.clip(np.rint(value / spread), -127, 127).astype(np.int8)
        return self._real(numbers, scales, key, axis)

    def _bias(self, step: Step, key: str, value: Array, scales: Array) -> str:
        source: Scale = self._quantization.values[step.node.inputs[0]].scale
        product = scales * source.scale
        numbers = np.rint(value / product)
        if np.abs(numbers).max(initial=0) > _INT32:
            message = f"`{key}` does not fit into 32-bit integers by the scales of its layer"
            raise fail("unsupported-form", message, help="leave the layer in float")
        if isinstance(step.shapes[0], ops.Tokens):
            # ONNX Runtime merges a product of tokens with a bias in floats, and with no other.
            return self._writer.constant((numbers * product).astype(np.float32), key)
        return self._real(numbers.astype(np.int32), product, key, 0)

    def _real(self, numbers: Array, scales: Array, key: str, axis: int) -> str:
        scale = self._writer.constant(scales.astype(np.float32), f"{key}/scale")
        inputs = [self._writer.constant(numbers, key), scale]
        if numbers.dtype == np.int8:  # ONNX Runtime merges a matrix product only where the zero points are stated
            inputs.append(self._writer.constant(np.zeros(len(scales), np.int8)))
        return self._writer.add("DequantizeLinear", inputs, axis=axis)
