"""The table from primitive operation to TFLite's operators in int8.

What a rule reads is int8 with a scale of its own, and so is what it gives: `Step.scale`. Where TFLite's kernels demand
equal scales, a QUANTIZE operator goes between. An operation that has no rule here is computed in float between two
such operators, which is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from archc.backends.litert import rules, sizes
from archc.backends.litert.flat import Tensor
from archc.backends.litert.operators import ACTIVATIONS
from archc.backends.litert.ranges import before
from archc.backends.litert.step import Step
from archc.ir import ops
from archc.ir.quantization import HIGHEST, Scale
from archc.ir.state import Array

Rule = Callable[[Step, Any], Tensor]

LARGEST = 2**30
"""The largest bias in int32: half of the type's range, so that the sum with the products stays in it."""


def supports(step: Step, op: ops.Op) -> bool:
    """Whether TFLite computes an operation in int8."""
    if isinstance(op, ops.Activation):
        return op.function in ("relu", "relu6") and _saturates(step.scale, op.function)
    if isinstance(op, ops.Add):
        return len(step.inputs) == 2
    equal = step.inputs[0].scale == step.scale
    if isinstance(op, ops.Pool) and op.function == "avg":
        same, pads = sizes.padding(op, step.image(0), step.flat.any_size)
        # TFLite's mean has the steps of what it reads, and so has its interpolation.
        return equal and (pads == sizes.NONE or op.count_padding or same)
    if isinstance(op, ops.ResizeToMultiple) or (isinstance(op, ops.Resize) and op.mode == "bilinear"):
        return equal
    return type(op) in RULES


def _saturates(scale: Scale | None, function: str) -> bool:
    """Whether an activation is nothing but the end of a range."""
    assert scale is not None
    highest = scale.scale * (HIGHEST - scale.zero_point)
    return scale.zero_point == -HIGHEST - 1 and (function == "relu" or highest <= 6 + scale.scale / 2)


def requantized(step: Step, x: Tensor) -> Tensor:
    """An int8 tensor with the scale of the step's result."""
    return x if x.scale == step.scale else step.make("QUANTIZE", [x], x.shape, scale=step.scale)


def _moved(step: Step, op: ops.Op) -> Tensor:
    """An operation that moves numbers, by the rule that it has in float."""
    return requantized(step, rules.RULES[type(op)](step, op))


def _conv(step: Step, op: ops.Conv) -> Tensor:
    kind, axes, options = rules.convolution(step, op)
    x, padding = rules.padded(step, op, step.inputs[0])
    kernel, bias = _parameters(step, axes)
    return _layer(step, kind, [x, kernel, bias], padding=padding, **options)


def _linear(step: Step, op: ops.Linear) -> Tensor:
    kernel, bias = _parameters(step, (0, 1))
    return _layer(step, "FULLY_CONNECTED", [step.inputs[0], kernel, bias], keepNumDims=len(step.shape) > 2)


def _layer(step: Step, kind: str, inputs: list[Tensor], **options: Any) -> Tensor:
    """A convolution or linear layer, with the activation that computes as one with it."""
    function = step.activation
    options["fusedActivationFunction"] = ACTIVATIONS.get(function, 0)
    if function in ACTIVATIONS or function == "hardsigmoid":
        return step.make(kind, inputs, step.shape, scale=step.scale, **options)
    assert step.scale is not None
    middle = before(function, step.scale)
    x = step.make(kind, inputs, step.shape, scale=middle.scale, **options)
    return in_float(step, ops.Activation(function), [x])


def in_float(step: Step, op: ops.Op, inputs: list[Tensor]) -> Tensor:
    """An operation computed in float, between int8 and int8."""
    held = step.inputs
    step.inputs = [step.make("DEQUANTIZE", [x], x.shape, dtype="float32") for x in inputs]
    made = rules.RULES[type(op)](step, op)
    step.inputs = held
    return step.make("QUANTIZE", [made], made.shape, scale=step.scale)


def _parameters(step: Step, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The kernel in int8, its axes moved, and the bias in int32."""
    key, read = f"{step.owner}.weight", step.inputs[0].scale
    assert read is not None
    weight = step.weights["weight"].astype(np.float64)
    bias: Array = np.asarray(step.weights.get("bias", np.zeros(len(weight))), np.float64)
    factors: Array = np.ones(1)
    if step.activation == "hardsigmoid":
        # x/6 + 1/2: the ends of the function are those of its result's range, which lies in [0, 1].
        factors, bias = factors / 6, bias / 6 + 0.5
    scales = np.array(step.weight_scales(key, len(weight)), np.float64)
    # A bias that does not fit int32 is so large beside the layer's products that they need fewer steps.
    scales = np.maximum(scales, np.abs(bias) / (factors * read.scale * LARGEST))
    steps = np.round(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)))
    kernel = np.clip(steps, -HIGHEST, HIGHEST).astype(np.int8).transpose(axes)
    scales = scales * factors
    numbers = np.round(bias / (scales * read.scale)).astype(np.int32)
    return (
        step.flat.constant(key, kernel, scales.tolist(), axis=axes.index(0)),
        step.flat.constant(f"{step.owner}.bias", numbers, (scales * read.scale).tolist()),
    )


def _concat(step: Step, op: ops.Concat) -> Tensor:
    parts = [requantized(step, x) for x in step.inputs]
    return step.make("CONCATENATION", parts, step.shape, scale=step.scale, axis=3)


def _global_pool(step: Step, op: ops.GlobalPool) -> Tensor:
    return step.make("MEAN", [step.inputs[0], step.axes(1, 2)], step.shape, scale=step.scale, keepDims=True)


def _binary(kind: str) -> Rule:
    return lambda step, op: step.make(kind, step.inputs, step.shape, scale=step.scale)


RULES: dict[type[ops.Op], Rule] = {
    ops.Conv: _conv,
    ops.Linear: _linear,
    ops.Activation: lambda step, op: requantized(step, step.inputs[0]),
    ops.Add: _binary("ADD"),
    ops.Gate: _binary("MUL"),
    ops.Concat: _concat,
    ops.Pool: _moved,
    ops.GlobalPool: _global_pool,
    ops.Flatten: _moved,
    ops.Dropout: _moved,
    ops.DropPath: _moved,
    ops.Resize: _moved,
    ops.ResizeToMultiple: _moved,
    ops.Unfold: _moved,
    ops.Fold: _moved,
}
