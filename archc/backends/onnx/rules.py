"""The table from primitive operation to ONNX's operators.

Images are [batch, C, H, W], vectors [batch, C], tokens [batch·positions, N, C], the batch slowest: as torch has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from archc.backends.onnx.activations import ACTIVATIONS
from archc.backends.onnx.sizes import divided, padding, resized, rounded_up
from archc.backends.onnx.step import Step
from archc.ir import ops

Rule = Callable[[Step, Any], str]
"""Writes an operation, the second argument, and gives its result."""


def supports(op: ops.Op) -> bool:
    """Whether this backend can write an operation."""
    if isinstance(op, ops.Activation):
        return op.function in ACTIVATIONS
    return type(op) in RULES


def _conv(step: Step, op: ops.Conv) -> str:
    x, pads = padding(step, op)
    weights = [step.weight("weight"), *([step.weight("bias")] if op.bias else [])]
    return step.make(
        "Conv",
        x,
        *weights,
        kernel_shape=op.kernel,
        strides=(op.stride, op.stride),
        dilations=(op.dilation, op.dilation),
        group=op.groups,
        **pads,
    )


def _linear(step: Step, op: ops.Linear) -> str:
    if isinstance(step.shapes[0], ops.Vector):
        bias = [step.weight("bias")] if op.bias else []
        return step.make("Gemm", step.x, step.weight("weight"), *bias, transB=1)
    matrix = step.weight("weight", np.transpose)
    if not op.bias:
        return step.make("MatMul", step.x, matrix)
    return step.make("Add", step.add("MatMul", step.x, matrix), step.weight("bias"))


def _batch_norm(step: Step, op: ops.BatchNorm) -> str:
    weights = [step.weight(name) for name in ("weight", "bias", "running_mean", "running_var")]
    return step.make("BatchNormalization", step.x, *weights, epsilon=op.eps)


def _layer_norm(step: Step, op: ops.LayerNorm) -> str:
    weights = [step.weight(name) for name in ("weight", "bias")]
    return step.make("LayerNormalization", step.x, *weights, axis=-1, epsilon=op.eps)


def _normalize(step: Step, op: ops.Normalize) -> str:
    x = step.x
    if op.reverse:
        x = step.add("Gather", x, step.writer.integers(*reversed(range(len(op.mean)))), axis=1)
    mean, scale = (step.number(np.reshape(numbers, (-1, 1, 1))) for numbers in (op.mean, op.scale))
    if set(op.scale) == {1.0}:
        return step.make("Sub", x, mean)
    return step.make("Mul", step.add("Sub", x, mean), scale)


def _add(step: Step, op: ops.Add) -> str:
    total, *others, last = step.inputs
    for other in others:
        total = step.add("Add", total, other)
    return step.make("Add", total, last)


def _pool(step: Step, op: ops.Pool) -> str:
    x, pads = padding(step, op)
    counting = int(op.count_padding) if op.function == "avg" else None
    kind = "MaxPool" if op.function == "max" else "AveragePool"
    strides = (op.stride, op.stride)
    return step.make(kind, x, kernel_shape=op.kernel, strides=strides, count_include_pad=counting, **pads)


def _resize(step: Step, op: ops.Resize) -> str:
    image, like = step.image(0), step.image(1)
    if step.any_size:
        return resized(step, step.writer.size(step.inputs[1]), op.mode)
    if image[1:] == like[1:]:
        return step.x
    return resized(step, step.writer.integers(*like[1:]), op.mode, (image[1:], like[1:]))


def _resize_to_multiple(step: Step, op: ops.ResizeToMultiple) -> str:
    if step.any_size:
        return resized(step, rounded_up(step, step.writer.size(step.x), op.multiple), "bilinear")
    size = op.infer(step.shapes[0])[1:]
    return step.x if size == step.image()[1:] else resized(step, step.writer.integers(*size), "bilinear")


def _unfold(step: Step, op: ops.Unfold) -> str:
    (ph, pw), (channels, height, width) = op.patch, step.image()
    if step.any_size:
        rows, columns = divided(step, step.writer.size(step.x), op.patch)
        shape = step.join(-1, channels, rows, ph, columns, pw)
        tokens = step.join(-1, step.add("Mul", rows, columns), channels)
    else:
        shape = step.join(-1, channels, height // ph, ph, width // pw, pw)
        tokens = step.join(-1, (height // ph) * (width // pw), channels)
    patches = step.add("Transpose", step.add("Reshape", step.x, shape), perm=(0, 3, 5, 2, 4, 1))
    return step.make("Reshape", patches, tokens)


def _fold(step: Step, op: ops.Fold) -> str:
    (ph, pw), channels = op.patch, step.shapes[0].channels
    _, height, width = step.image(1)
    if step.any_size:
        size = step.writer.size(step.inputs[1])
        rows, columns = divided(step, size, op.patch)
        shape = step.join(-1, ph, pw, rows, columns, channels)
        image = step.join(-1, channels, size)
    else:
        shape = step.join(-1, ph, pw, height // ph, width // pw, channels)
        image = step.join(-1, channels, height, width)
    patches = step.add("Transpose", step.add("Reshape", step.x, shape), perm=(0, 5, 3, 1, 4, 2))
    return step.make("Reshape", patches, image)


def _attention(step: Step, op: ops.Attention) -> str:
    channels = step.shapes[0].channels // 3
    size = channels // op.heads
    names = [step.writer.fresh(name) for name in ("query", "key", "value")]
    parts = step.writer.add_many("Split", [step.x], names, axis=2, num_outputs=3)
    split = step.join(0, 0, op.heads, size)  # a zero keeps a dimension as it is
    query, key, value = (step.add("Reshape", part, split) for part in parts)
    query = step.add("Mul", step.add("Transpose", query, perm=(0, 2, 1, 3)), step.number(size**-0.5))
    products = step.add("MatMul", query, step.add("Transpose", key, perm=(0, 2, 3, 1)))
    shares = step.add("Softmax", products, axis=-1)
    mixed = step.add("MatMul", shares, step.add("Transpose", value, perm=(0, 2, 1, 3)))
    return step.make("Reshape", step.add("Transpose", mixed, perm=(0, 2, 1, 3)), step.join(0, 0, channels))


RULES: dict[type[ops.Op], Rule] = {
    ops.Conv: _conv,
    ops.Linear: _linear,
    ops.BatchNorm: _batch_norm,
    ops.LayerNorm: _layer_norm,
    ops.Activation: lambda step, op: ACTIVATIONS[op.function](step),
    ops.Normalize: _normalize,
    ops.Add: _add,
    ops.Gate: lambda step, op: step.make("Mul", *step.inputs),
    ops.Concat: lambda step, op: step.make("Concat", *step.inputs, axis=1),
    ops.Pool: _pool,
    ops.GlobalPool: lambda step, op: step.make("GlobalAveragePool", step.x),
    ops.Flatten: lambda step, op: step.make("Flatten", step.x, axis=1),
    ops.Dropout: lambda step, op: step.x,
    ops.DropPath: lambda step, op: step.x,
    ops.Resize: _resize,
    ops.ResizeToMultiple: _resize_to_multiple,
    ops.Unfold: _unfold,
    ops.Fold: _fold,
    ops.Attention: _attention,
}
"""The rule of every operation. Users add the rules of their own operations."""
