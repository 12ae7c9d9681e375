"""The table from primitive operation to torch layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from archc.backends.torch.modules import (
    Attention,
    DropPath,
    Fold,
    NormalizePixels,
    ResizeLike,
    ResizeToMultiple,
    SameConv2d,
    SamePool2d,
    Unfold,
    frozen_batch_norm,
)
from archc.ir import ops
from archc.ir.ops import Shape

Factory = dict[str, Any]
"""`device` and `dtype` for layers that own tensors."""

Rule = Callable[[Any, Sequence[Shape], Factory], nn.Module]
"""Makes the layer of an operation, for inputs of these shapes. It may leave its weights unset, as `uninitialised` does.

The layer's tensors must have the names, shapes and layouts that the operation's `weights` states.
"""

EXPRESSIONS: dict[type[ops.Op], Callable[[Sequence[str]], str]] = {
    ops.Add: " + ".join,
    ops.Gate: lambda values: f"{values[0]} * {values[1]}",
    ops.Concat: lambda values: f"torch.cat([{', '.join(values)}], 1)",
}
"""Operations without weights that a forward writes out as an expression of its variables."""


def layer(op: ops.Op, inputs: Sequence[Shape], factory: Factory, *, inplace: bool = False) -> nn.Module:
    """The layer for an operation on inputs of these shapes; with `inplace`, an activation works in place if it can."""
    made: Any = RULES[type(op)](op, inputs, factory)
    if inplace and isinstance(op, ops.Activation) and hasattr(made, "inplace"):
        made.inplace = True
    return cast(nn.Module, made)


def expression(op: ops.Op, inputs: int) -> Callable[..., Tensor]:
    """The function of an operation that a forward writes out."""
    names = [f"x{number}" for number in range(inputs)]
    made: Callable[..., Tensor] = eval(f"lambda {', '.join(names)}: {EXPRESSIONS[type(op)](names)}", {"torch": torch})
    return made


def supports(op: ops.Op) -> bool:
    """Whether this backend can run an operation."""
    if isinstance(op, ops.Activation):
        return op.function in _ACTIVATIONS
    return type(op) in RULES or type(op) in EXPRESSIONS


_Module = TypeVar("_Module", bound=nn.Module)


def uninitialised(kind: type[_Module], *args: Any, **kwargs: Any) -> _Module:
    """A layer whose weights are not set: all of them are set afterwards, and drawing them twice would double the time.

    While the layer is made, its method `reset_parameters` is hidden by one that does nothing. torch's own `skip_init`
    goes through the meta device, which takes longer than drawing the weights.
    """
    made = kind.__new__(kind)
    vars(made)["reset_parameters"] = _nothing
    made.__init__(*args, **kwargs)  # type: ignore[misc]
    del vars(made)["reset_parameters"]
    return made


def _nothing() -> None:
    """Stands in for `reset_parameters`."""


def _conv(op: ops.Conv, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return uninitialised(
        SameConv2d if op.padding == "same" else nn.Conv2d,
        inputs[0].channels,
        op.out,
        op.kernel,
        stride=op.stride,
        padding=_padding(op.kernel, op.dilation, op.padding),
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias,
        **factory,
    )


def _batch_norm(op: ops.BatchNorm, channels: int, factory: Factory) -> nn.Module:
    if not op.frozen:
        return uninitialised(nn.BatchNorm2d, channels, eps=op.eps, momentum=op.momentum, **factory)
    frozen: nn.Module = frozen_batch_norm()(channels, eps=op.eps).to(**factory)  # its constructor knows no device
    return frozen


def _pool(op: ops.Pool, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    if op.padding == "same":
        return SamePool2d(op.function, op.kernel, op.stride, op.count_padding)
    padding = _padding(op.kernel, 1, op.padding)
    if op.function == "max":
        return nn.MaxPool2d(op.kernel, op.stride, padding)
    return nn.AvgPool2d(op.kernel, op.stride, padding, count_include_pad=op.count_padding)


def _padding(kernel: ops.Pair, dilation: int, mode: ops.PadMode) -> ops.Pair:
    return ops.pads_symmetric(kernel, dilation) if mode == "symmetric" else (0, 0)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "mish": nn.Mish,
}


RULES: dict[type[ops.Op], Rule] = {
    ops.Conv: _conv,
    ops.Linear: lambda op, x, new: uninitialised(nn.Linear, x[0].channels, op.out, bias=op.bias, **new),
    ops.BatchNorm: lambda op, x, new: _batch_norm(op, x[0].channels, new),
    ops.LayerNorm: lambda op, x, new: uninitialised(nn.LayerNorm, x[0].channels, eps=op.eps, **new),
    ops.Activation: lambda op, x, new: _ACTIVATIONS[op.function](),
    ops.Normalize: lambda op, x, new: NormalizePixels(op.mean, op.scale, op.reverse, **new),
    ops.Pool: _pool,
    ops.GlobalPool: lambda op, x, new: nn.AdaptiveAvgPool2d(1),
    ops.Flatten: lambda op, x, new: nn.Flatten(),
    ops.Dropout: lambda op, x, new: nn.Dropout2d(op.rate) if op.whole_channels else nn.Dropout(op.rate),
    ops.DropPath: lambda op, x, new: DropPath(op.rate),
    ops.Resize: lambda op, x, new: ResizeLike(op.mode),
    ops.ResizeToMultiple: lambda op, x, new: ResizeToMultiple(op.multiple),
    ops.Unfold: lambda op, x, new: Unfold(op.patch),
    ops.Fold: lambda op, x, new: Fold(op.patch),
    ops.Attention: lambda op, x, new: Attention(op.heads, op.dropout),
}
"""The rule of every operation that becomes a layer. Users add the rules of their own operations."""
