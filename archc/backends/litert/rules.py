"""The table from primitive operation to TFLite's operators, in float.

Images are [batch, H, W, C], vectors [batch, C], tokens [batch·positions, N, C], the batch slowest.

Rules that only move numbers, or compare them, work on int8 too: what they make has the type and scale of what they
read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from archc.backends.litert import sizes
from archc.backends.litert.activations import ACTIVATIONS
from archc.backends.litert.flat import Tensor
from archc.backends.litert.step import Step
from archc.ir import ops

Rule = Callable[[Step, Any], Tensor]
"""Writes an operation, the second argument, and gives its result."""

FUSING = (ops.Conv, ops.Linear, ops.Add, ops.Gate, ops.BatchNorm)
"""The operations whose last operator can apply an activation: `Step.fused`."""


def supports(op: ops.Op) -> bool:
    """Whether this backend can write an operation."""
    if isinstance(op, ops.Activation):
        return op.function in ACTIVATIONS
    return type(op) in RULES


def padded(step: Step, op: ops.Conv | ops.Pool, x: Tensor) -> tuple[Tensor, int]:
    """What a window reads, padded by zeros where TFLite's own padding is another; and TFLite's padding for it."""
    same, pads = sizes.padding(op, step.image(0), step.flat.any_size)
    return (x, SAME) if same else (step.pad(x, pads), VALID)


SAME, VALID = 0, 1


def window(op: ops.Conv | ops.Pool) -> dict[str, Any]:
    """The options that convolutions and pools have in common."""
    return {"strideH": op.stride, "strideW": op.stride}


def convolution(step: Step, op: ops.Conv) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """The operator of a convolution, how its kernel's axes are moved, and its options apart from the padding."""
    options = window(op) | {"dilationHFactor": op.dilation, "dilationWFactor": op.dilation}
    options["fusedActivationFunction"] = step.fused
    if op.groups > 1 and op.groups == step.image(0).channels:
        return "DEPTHWISE_CONV_2D", (1, 2, 3, 0), options | {"depthMultiplier": op.out // op.groups}
    return "CONV_2D", (0, 2, 3, 1), options


def _conv(step: Step, op: ops.Conv) -> Tensor:
    kind, axes, options = convolution(step, op)
    x, padding = padded(step, op, step.inputs[0])
    kernel = step.parameter("weight", step.weights["weight"].transpose(axes))
    bias = step.parameter("bias", step.weights["bias"] if op.bias else np.zeros(op.out, np.float32))
    return step.make(kind, [x, kernel, bias], step.shape, padding=padding, **options)


def _linear(step: Step, op: ops.Linear) -> Tensor:
    inputs = [step.inputs[0], step.parameter("weight", step.weights["weight"])]
    if op.bias:
        inputs.append(step.parameter("bias", step.weights["bias"]))
    return step.make(
        "FULLY_CONNECTED", inputs, step.shape, keepNumDims=len(step.shape) > 2, fusedActivationFunction=step.fused
    )


def _batch_norm(step: Step, op: ops.BatchNorm) -> Tensor:
    weights = {name: value.astype(np.float64) for name, value in step.weights.items()}
    scale = weights["weight"] / np.sqrt(weights["running_var"] + op.eps)
    x = step.binary("MUL", step.inputs[0], scale)
    return step.binary("ADD", x, weights["bias"] - weights["running_mean"] * scale, step.fused)


def _layer_norm(step: Step, op: ops.LayerNorm) -> Tensor:
    (x,) = step.inputs
    last, single = step.axes(len(x.shape) - 1), (*x.shape[:-1], 1)
    mean = step.make("MEAN", [x, last], single, keepDims=True)
    centred = step.make("SUB", [x, mean], x.shape)
    square = step.make("MUL", [centred, centred], x.shape)
    variance = step.binary("ADD", step.make("MEAN", [square, last], single, keepDims=True), op.eps)
    y = step.make("MUL", [centred, step.make("RSQRT", [variance], single)], x.shape)
    return step.binary("ADD", step.binary("MUL", y, step.weights["weight"]), step.weights["bias"])


def _normalize(step: Step, op: ops.Normalize) -> Tensor:
    x = step.make("CAST", step.inputs, step.shape, dtype="float32", inDataType=3, outDataType=0)
    if op.reverse:
        order = step.integers("order", np.arange(len(op.mean))[::-1])
        x = step.make("GATHER", [x, order], step.shape, axis=3)
    x = step.binary("SUB", x, np.array(op.mean))
    return x if set(op.scale) == {1.0} else step.binary("MUL", x, np.array(op.scale))


def _add(step: Step, op: ops.Add) -> Tensor:
    x, *others = step.inputs
    for number, other in enumerate(others, 1):
        fused = step.fused if number == len(others) else 0
        x = step.make("ADD", [x, other], step.shape, fusedActivationFunction=fused)
    return x


def _pool(step: Step, op: ops.Pool) -> Tensor:
    return _max_pool(step, op) if op.function == "max" else _average_pool(step, op)


def _max_pool(step: Step, op: ops.Pool) -> Tensor:
    same, pads = sizes.padding(op, step.image(0), step.flat.any_size)
    x = step.inputs[0] if same else step.pad(step.inputs[0], pads, lowest=True)
    return _pooled(step, op, "MAX_POOL_2D", x, SAME if same else VALID)


def _average_pool(step: Step, op: ops.Pool) -> Tensor:
    same, pads = sizes.padding(op, step.image(0), step.flat.any_size)
    if pads == sizes.NONE:
        return _pooled(step, op, "AVERAGE_POOL_2D", step.inputs[0], VALID)
    if same and not op.count_padding:
        return _pooled(step, op, "AVERAGE_POOL_2D", step.inputs[0], SAME)
    mean = _pooled(step, op, "AVERAGE_POOL_2D", step.pad(step.inputs[0], pads), VALID)
    return mean if op.count_padding else step.binary("MUL", mean, _share(op, step.image(0), pads))


def _share(op: ops.Pool, image: ops.Image, pads: sizes.Pads) -> Any:
    """By what the mean over a window is to be multiplied so that the padding does not count: [H, W, 1]."""
    counts = []
    for size, kernel, (before, after) in zip(image[1:], op.kernel, pads, strict=True):
        inside = np.pad(np.ones(size), (before, after))
        starts = range(0, len(inside) - kernel + 1, op.stride)
        counts.append(np.array([inside[start : start + kernel].sum() for start in starts]))
    return np.prod(op.kernel) / (counts[0][:, None, None] * counts[1][:, None])


def _pooled(step: Step, op: ops.Pool, kind: str, x: Tensor, padding: int) -> Tensor:
    size = {"filterHeight": op.kernel[0], "filterWidth": op.kernel[1]}
    return step.make(kind, [x], step.shape, padding=padding, **(window(op) | size))


def _global_pool(step: Step, op: ops.GlobalPool) -> Tensor:
    return step.make("MEAN", [step.inputs[0], step.axes(1, 2)], step.shape, keepDims=True)


def _flatten(step: Step, op: ops.Flatten) -> Tensor:
    (x,) = step.inputs
    image = step.image(0)
    if image.height * image.width > 1 and image.channels > 1:
        x = step.transpose(x, 0, 3, 1, 2)  # the channels are the slowest in the vector
    return step.reshape(x, step.shape)


def resized(step: Step, mode: str) -> Tensor:
    """The first input in the height and width of the result."""
    (x, *_), image = step.inputs, step.image(0)
    if step.like is not None and step.flat.any_size:
        size = step.size(step.like)
    elif (image.height, image.width) == step.shape[1:3]:
        return x
    else:
        size = step.integers("size", step.shape[1:3])
    if mode == "bilinear":
        return step.make("RESIZE_BILINEAR", [x, size], step.shape, alignCorners=False, halfPixelCenters=True)
    # As torch, the kernel finds the pixels by 32-bit floats.
    return step.make("RESIZE_NEAREST_NEIGHBOR", [x, size], step.shape, alignCorners=False, halfPixelCenters=False)


def _unfold(step: Step, op: ops.Unfold) -> Tensor:
    (x,), image, (ph, pw) = step.inputs, step.image(0), op.patch
    rows, columns, channels = image.height // ph, image.width // pw, image.channels
    if ph == pw and ph > 1:
        x = step.make("SPACE_TO_DEPTH", [x], (1, rows, columns, ph * pw * channels), blockSize=ph)
        x = step.transpose(step.reshape(x, (1, rows * columns, ph * pw, channels)), 0, 2, 1, 3)
    elif ph * pw > 1:
        x = step.transpose(step.reshape(x, (1, rows, ph, columns, pw, channels)), 0, 2, 4, 1, 3, 5)
    return step.reshape(x, step.shape)


def _fold(step: Step, op: ops.Fold) -> Tensor:
    x, (_, high, wide, channels), (ph, pw) = step.inputs[0], step.shape, op.patch
    rows, columns = high // ph, wide // pw
    if ph == pw and ph > 1:
        x = step.transpose(step.reshape(x, (1, ph * pw, rows * columns, channels)), 0, 2, 1, 3)
        x = step.reshape(x, (1, rows, columns, ph * pw * channels))
        return step.make("DEPTH_TO_SPACE", [x], step.shape, blockSize=ph)
    if ph * pw > 1:
        x = step.transpose(step.reshape(x, (1, ph, pw, rows, columns, channels)), 0, 3, 1, 4, 2, 5)
    return step.reshape(x, step.shape)


def _attention(step: Step, op: ops.Attention) -> Tensor:
    (x,), (positions, length, channels) = step.inputs, step.shape
    size = channels // op.heads
    joined = step.transpose(step.reshape(x, (positions, length, 3 * op.heads, size)), 0, 2, 1, 3)
    part = (positions, op.heads, length, size)
    query, key, value = step.split(joined, part, axis=1, number=3)
    query = step.binary("MUL", query, size**-0.5)
    products = step.make("BATCH_MATMUL", [query, key], (positions, op.heads, length, length), adjY=True)
    y = step.make("BATCH_MATMUL", [step.make("SOFTMAX", [products], products.shape, beta=1.0), value], part)
    return step.reshape(step.transpose(y, 0, 2, 1, 3), step.shape)


RULES: dict[type[ops.Op], Rule] = {
    ops.Conv: _conv,
    ops.Linear: _linear,
    ops.BatchNorm: _batch_norm,
    ops.LayerNorm: _layer_norm,
    ops.Activation: lambda step, op: ACTIVATIONS[op.function](step, step.inputs[0]),
    ops.Normalize: _normalize,
    ops.Add: _add,
    ops.Gate: lambda step, op: step.make("MUL", step.inputs, step.shape, fusedActivationFunction=step.fused),
    ops.Concat: lambda step, op: step.make("CONCATENATION", step.inputs, step.shape, axis=3),
    ops.Pool: _pool,
    ops.GlobalPool: _global_pool,
    ops.Flatten: _flatten,
    ops.Dropout: lambda step, op: step.inputs[0],
    ops.DropPath: lambda step, op: step.inputs[0],
    ops.Resize: lambda step, op: resized(step, op.mode),
    ops.ResizeToMultiple: lambda step, op: resized(step, "bilinear"),
    ops.Unfold: _unfold,
    ops.Fold: _fold,
    ops.Attention: _attention,
}
"""The rule of every operation. Users add the rules of their own operations."""
