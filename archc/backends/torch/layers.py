"""The table from primitive operation to torch layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from torch import nn

from archc.backends.torch.modules import (
    Attention,
    DropPath,
    Fold,
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

EXPRESSIONS: dict[type[ops.Op], Callable[[Sequence[str]], str]] = {
    ops.Add: " + ".join,
    ops.Gate: lambda values: f"{values[0]} * {values[1]}",
    ops.Concat: lambda values: f"torch.cat([{', '.join(values)}], 1)",
}
"""Operations that a forward writes out, as they own nothing that a module would hold."""


def layer(op: ops.Op, inputs: Sequence[Shape], factory: Factory, *, inplace: bool = False) -> nn.Module:
    """The layer for an operation on inputs of these shapes; an activation that can, works in place if told so."""
    made: Any = _LAYERS[type(op)](op, inputs, factory)
    if inplace and isinstance(op, ops.Activation) and hasattr(made, "inplace"):
        made.inplace = True
    return cast(nn.Module, made)


def supported() -> set[type[ops.Op]]:
    """The operations that this backend can run."""
    return {*_LAYERS, *EXPRESSIONS}


_Module = TypeVar("_Module", bound=nn.Module)

_RAW: dict[str, type[Any]] = {}
"""By name, the layers with an initialisation that does nothing."""


def _uninitialised(kind: type[_Module], *args: Any, **kwargs: Any) -> _Module:
    """A layer whose weights are not set, as `initialise` sets them all: drawing them twice would double build time.

    torch's own `skip_init` goes through the meta device, which takes longer than drawing them.
    """
    if kind.__name__ not in _RAW:
        _RAW[kind.__name__] = type(kind.__name__, (kind,), {"reset_parameters": lambda self: None})
    made = _RAW[kind.__name__](*args, **kwargs)
    made.__class__ = kind
    return cast(_Module, made)


def _conv(op: ops.Conv, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return _uninitialised(
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
        return _uninitialised(nn.BatchNorm2d, channels, eps=op.eps, momentum=op.momentum, **factory)
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


def activations() -> set[str]:
    """The functions that `Activation` may name here."""
    return set(_ACTIVATIONS)


_LAYERS: dict[type[ops.Op], Callable[[Any, Sequence[Shape], Factory], nn.Module]] = {
    ops.Conv: _conv,
    ops.Linear: lambda op, x, new: _uninitialised(nn.Linear, x[0].channels, op.out, bias=op.bias, **new),
    ops.BatchNorm: lambda op, x, new: _batch_norm(op, x[0].channels, new),
    ops.LayerNorm: lambda op, x, new: nn.LayerNorm(x[0].channels, eps=op.eps, **new),
    ops.Activation: lambda op, x, new: _ACTIVATIONS[op.function](),
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
