"""The table from primitive operation to operations of MIL, Core ML's language of programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from archc.backends.coreml.activations import ACTIVATIONS
from archc.backends.coreml.library import mb
from archc.backends.coreml.sizes import padding
from archc.backends.coreml.step import Step, Var
from archc.ir import ops

Rule = Callable[[Step, Any], Var]
"""Writes an operation, the second argument, and gives its result."""


def supports(op: ops.Op) -> bool:
    """Whether this backend can write an operation."""
    if isinstance(op, ops.Activation):
        return op.function in ACTIVATIONS
    return type(op) in RULES


def _conv(step: Step, op: ops.Conv) -> Var:
    bias = {"bias": step.weight("bias")} if op.bias else {}
    return mb.conv(
        x=step.inputs[0],
        weight=step.weight("weight"),
        strides=[op.stride] * 2,
        dilations=[op.dilation] * 2,
        groups=op.groups,
        **padding(op, step.image(0), step.any_size),
        **bias,
    )


def _linear(step: Step, op: ops.Linear) -> Var:
    bias = {"bias": step.weight("bias")} if op.bias else {}
    return mb.linear(x=step.inputs[0], weight=step.weight("weight"), **bias)


def _batch_norm(step: Step, op: ops.BatchNorm) -> Var:
    return mb.batch_norm(
        x=step.inputs[0],
        mean=step.weight("running_mean"),
        variance=step.weight("running_var"),
        gamma=step.weight("weight"),
        beta=step.weight("bias"),
        epsilon=op.eps,
    )


def _layer_norm(step: Step, op: ops.LayerNorm) -> Var:
    gamma, beta = step.weight("weight"), step.weight("bias")
    return mb.layer_norm(x=step.inputs[0], axes=[-1], gamma=gamma, beta=beta, epsilon=op.eps)


def _normalize(step: Step, op: ops.Normalize) -> Var:
    (x,) = step.inputs
    if op.reverse:
        x = mb.reverse(x=x, axes=[1])
    x = mb.sub(x=x, y=step.constant("mean", np.reshape(op.mean, (1, -1, 1, 1))))
    if set(op.scale) == {1.0}:
        return x
    return mb.mul(x=x, y=step.constant("scale", np.reshape(op.scale, (1, -1, 1, 1))))


def _add(step: Step, op: ops.Add) -> Var:
    x, *others = step.inputs
    for other in others:
        x = mb.add(x=x, y=other)
    return x


def _pool(step: Step, op: ops.Pool) -> Var:
    options = {"kernel_sizes": list(op.kernel), "strides": [op.stride] * 2}
    options |= padding(op, step.image(0), step.any_size)
    if op.function == "max":
        return mb.max_pool(x=step.inputs[0], **options)
    return mb.avg_pool(x=step.inputs[0], exclude_padding_from_average=not op.count_padding, **options)


def _flatten(step: Step, op: ops.Flatten) -> Var:
    return mb.reshape(x=step.inputs[0], shape=[step.batch, step.node.shape.channels])


def _resize(step: Step, op: ops.Resize) -> Var:
    if op.mode == "bilinear":
        return _bilinear(step)
    x, image = step.inputs[0], step.image(0)
    assert isinstance(step.node.shape, ops.Image)
    for axis, (before, after) in enumerate(zip(image[1:], step.node.shape[1:], strict=True), 2):
        if before != after:  # pixel ⌊i · in / out⌋, in integers; Core ML's own operation computes it in floats
            x = mb.gather(x=x, indices=(np.arange(after) * before // after).astype(np.int32), axis=axis)
    return x


def _bilinear(step: Step) -> Var:
    """The first input in the height and width of the result; half-pixel centres, the border extended."""
    assert isinstance(step.node.shape, ops.Image)
    _, height, width = step.node.shape
    if step.image(0)[1:] == (height, width):
        return step.inputs[0]
    return mb.resize_bilinear(
        x=step.inputs[0], target_size_height=height, target_size_width=width, sampling_mode="UNALIGN_CORNERS"
    )


def _unfold(step: Step, op: ops.Unfold) -> Var:
    # Core ML takes five axes at most: channels and batch stay together until the patches are apart.
    (channels, height, width), (ph, pw), batch = step.image(0), op.patch, step.batch
    rows, columns = height // ph, width // pw
    x = mb.reshape(x=step.inputs[0], shape=[batch * channels, rows, ph, columns, pw])
    x = mb.transpose(x=x, perm=[0, 2, 4, 1, 3])
    x = mb.reshape(x=x, shape=[batch, channels, ph * pw, rows * columns])
    x = mb.transpose(x=x, perm=[0, 2, 3, 1])
    return mb.reshape(x=x, shape=[batch * ph * pw, rows * columns, channels])


def _fold(step: Step, op: ops.Fold) -> Var:
    assert isinstance(step.node.shape, ops.Image)
    (channels, height, width), (ph, pw), batch = step.node.shape, op.patch, step.batch
    rows, columns = height // ph, width // pw
    x = mb.reshape(x=step.inputs[0], shape=[batch, ph * pw, rows * columns, channels])
    x = mb.transpose(x=x, perm=[0, 3, 1, 2])
    x = mb.reshape(x=x, shape=[batch * channels, ph, pw, rows, columns])
    x = mb.transpose(x=x, perm=[0, 3, 1, 4, 2])
    return mb.reshape(x=x, shape=[batch, channels, height, width])


def _attention(step: Step, op: ops.Attention) -> Var:
    assert isinstance(step.node.shape, ops.Tokens)
    positions, length, channels = step.node.shape
    sequences, size = step.batch * positions, channels // op.heads
    x = mb.reshape(x=step.inputs[0], shape=[sequences, length, 3 * op.heads, size])
    query, key, value = mb.split(x=mb.transpose(x=x, perm=[0, 2, 1, 3]), num_splits=3, axis=1)
    query = mb.mul(x=query, y=np.float32(size**-0.5))
    weights = mb.softmax(x=mb.matmul(x=query, y=key, transpose_y=True), axis=-1)
    y = mb.transpose(x=mb.matmul(x=weights, y=value), perm=[0, 2, 1, 3])
    return mb.reshape(x=y, shape=[sequences, length, channels])


RULES: dict[type[ops.Op], Rule] = {
    ops.Conv: _conv,
    ops.Linear: _linear,
    ops.BatchNorm: _batch_norm,
    ops.LayerNorm: _layer_norm,
    ops.Activation: lambda step, op: ACTIVATIONS[op.function](step.inputs[0]),
    ops.Normalize: _normalize,
    ops.Add: _add,
    ops.Gate: lambda step, op: mb.mul(x=step.inputs[0], y=step.inputs[1]),
    ops.Concat: lambda step, op: mb.concat(values=step.inputs, axis=1),
    ops.Pool: _pool,
    ops.GlobalPool: lambda step, op: mb.reduce_mean(x=step.inputs[0], axes=[2, 3], keep_dims=True),
    ops.Flatten: _flatten,
    ops.Dropout: lambda step, op: step.inputs[0],
    ops.DropPath: lambda step, op: step.inputs[0],
    ops.Resize: _resize,
    ops.ResizeToMultiple: lambda step, op: _bilinear(step),
    ops.Unfold: _unfold,
    ops.Fold: _fold,
    ops.Attention: _attention,
}
"""The rule of every operation. Users add the rules of their own operations."""
