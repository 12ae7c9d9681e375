"""The table from primitive operation to layer, and the few layers that torch lacks.

Images are [batch, channels, height, width]; vectors are [batch, channels]; tokens are [batch·positions, length,
channels], the batch slowest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor, nn

from archc.ir import ops
from archc.ir.ops import Shape

_Op = TypeVar("_Op", bound=ops.Op)
Factory = dict[str, Any]
"""`device` and `dtype` for layers that own tensors."""

_Maker = Callable[[_Op, Sequence[Shape], Factory], nn.Module]
_LAYERS: dict[type[ops.Op], Callable[[Any, Sequence[Shape], Factory], nn.Module]] = {}

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


def _layer(kind: type[_Op]) -> Callable[[_Maker[_Op]], _Maker[_Op]]:
    def register(make: _Maker[_Op]) -> _Maker[_Op]:
        _LAYERS[kind] = make
        return make

    return register


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


@_layer(ops.Conv)
def _conv(op: ops.Conv, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    same = op.padding == "same"
    symmetric = (ops.pad_symmetric(op.kernel[0], op.dilation), ops.pad_symmetric(op.kernel[1], op.dilation))
    return _uninitialised(
        SameConv2d if same else nn.Conv2d,
        inputs[0].channels,
        op.out,
        op.kernel,
        stride=op.stride,
        padding=symmetric if op.padding == "symmetric" else 0,
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias,
        **factory,
    )


@_layer(ops.Linear)
def _linear(op: ops.Linear, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return _uninitialised(nn.Linear, inputs[0].channels, op.out, bias=op.bias, **factory)


@_layer(ops.BatchNorm)
def _batch_norm(op: ops.BatchNorm, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return _uninitialised(nn.BatchNorm2d, inputs[0].channels, eps=op.eps, momentum=op.momentum, **factory)


@_layer(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return nn.LayerNorm(inputs[0].channels, eps=op.eps, **factory)


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


@_layer(ops.Activation)
def _activation(op: ops.Activation, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return _ACTIVATIONS[op.function]()


@_layer(ops.Pool)
def _pool(op: ops.Pool, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    if op.padding == "same":
        return SamePool2d(op.function, op.kernel, op.stride, op.count_padding)
    height, width = (ops.pad_symmetric(k, 1) if op.padding == "symmetric" else 0 for k in op.kernel)
    padding = (height, width)
    if op.function == "max":
        return nn.MaxPool2d(op.kernel, op.stride, padding)
    return nn.AvgPool2d(op.kernel, op.stride, padding, count_include_pad=op.count_padding)


@_layer(ops.GlobalPool)
def _global_pool(op: ops.GlobalPool, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


@_layer(ops.Flatten)
def _flatten(op: ops.Flatten, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return nn.Flatten()


@_layer(ops.Dropout)
def _dropout(op: ops.Dropout, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return nn.Dropout(op.rate)


@_layer(ops.DropPath)
def _drop_path(op: ops.DropPath, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return DropPath(op.rate)


@_layer(ops.Resize)
def _resize(op: ops.Resize, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return ResizeLike(op.mode)


@_layer(ops.ResizeToMultiple)
def _resize_to_multiple(op: ops.ResizeToMultiple, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return ResizeToMultiple(op.multiple)


@_layer(ops.Unfold)
def _unfold(op: ops.Unfold, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return Unfold(op.patch)


@_layer(ops.Fold)
def _fold(op: ops.Fold, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return Fold(op.patch)


@_layer(ops.Attention)
def _attention(op: ops.Attention, inputs: Sequence[Shape], factory: Factory) -> nn.Module:
    return Attention(op.heads, op.dropout)


def _same_padding(x: Tensor, kernel: Sequence[int], stride: int, dilation: int) -> list[int]:
    """TensorFlow's padding for this input: the output is ceil(size / stride), the odd pixel goes to the end."""
    pads: list[int] = []
    for size, window in zip(reversed(x.shape[-2:]), reversed(kernel), strict=True):
        total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
        pads += [total // 2, total - total // 2]
    return pads


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does: by an amount that depends on the input's size."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, ceil(H/stride), ceil(W/stride)]."""
        pads = _same_padding(input, self.kernel_size, self.stride[0], self.dilation[0])
        return super().forward(F.pad(input, pads))


class SamePool2d(nn.Module):
    """A pool padded as TensorFlow does. An average counts the padding only if told so."""

    def __init__(self, function: str, kernel: tuple[int, int], stride: int, count_padding: bool) -> None:
        super().__init__()
        self.function, self.kernel, self.stride, self.count_padding = function, kernel, stride, count_padding

    def extra_repr(self) -> str:
        return f"{self.function}, kernel={self.kernel}, stride={self.stride}, count_padding={self.count_padding}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, ceil(H/stride), ceil(W/stride)]."""
        pads = _same_padding(x, self.kernel, self.stride, 1)
        if self.function == "max":
            return F.max_pool2d(F.pad(x, pads, value=-torch.inf), self.kernel, self.stride)
        mean = F.avg_pool2d(F.pad(x, pads), self.kernel, self.stride)
        if self.count_padding:
            return mean
        return mean / F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), pads), self.kernel, self.stride)


class DropPath(nn.Module):
    """Stochastic depth: while training, zero the whole branch of an image with probability `rate`, scale the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, batch first."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty([x.shape[0]] + [1] * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)


class ResizeLike(nn.Module):
    """Interpolate to the height and width of another tensor; leave a tensor of that size alone."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def extra_repr(self) -> str:
        return self.mode

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """[B, C, h, w] and [B, _, H, W] to [B, C, H, W]."""
        return _interpolate(x, like.shape[-2], like.shape[-1], self.mode)


class ResizeToMultiple(nn.Module):
    """Interpolate bilinearly up to the next multiple of a size; leave what is one alone."""

    def __init__(self, multiple: tuple[int, int]) -> None:
        super().__init__()
        self.multiple = multiple

    def extra_repr(self) -> str:
        return f"{self.multiple[0]}×{self.multiple[1]}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H', W']."""
        mh, mw = self.multiple
        return _interpolate(x, -(-x.shape[-2] // mh) * mh, -(-x.shape[-1] // mw) * mw, "bilinear")


def _interpolate(x: Tensor, height: int, width: int, mode: str) -> Tensor:
    if x.shape[-2] == height and x.shape[-1] == width:
        return x
    align = False if mode == "bilinear" else None
    return F.interpolate(x, size=(height, width), mode=mode, align_corners=align)


class Unfold(nn.Module):
    """An image as sequences of patches, one sequence per pixel position in the patch."""

    def __init__(self, patch: tuple[int, int]) -> None:
        super().__init__()
        self.patch = patch

    def extra_repr(self) -> str:
        return f"{self.patch[0]}×{self.patch[1]}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B·P, N, C]: P pixels in a patch, N patches."""
        (ph, pw), (batch, channels, height, width) = self.patch, x.shape
        rows, columns = height // ph, width // pw
        x = x.reshape(batch * channels * rows, ph, columns, pw).transpose(1, 2)
        x = x.reshape(batch, channels, rows * columns, ph * pw).transpose(1, 3)
        return x.reshape(batch * ph * pw, rows * columns, channels)


class Fold(nn.Module):
    """The inverse of `Unfold`."""

    def __init__(self, patch: tuple[int, int]) -> None:
        super().__init__()
        self.patch = patch

    def extra_repr(self) -> str:
        return f"{self.patch[0]}×{self.patch[1]}"

    def forward(self, tokens: Tensor, like: Tensor) -> Tensor:
        """[B·P, N, C] and an image [B, _, H, W] to [B, C, H, W]."""
        (ph, pw), (batch, _, height, width) = self.patch, like.shape
        rows, columns, channels = height // ph, width // pw, tokens.shape[-1]
        x = tokens.reshape(batch, ph * pw, rows * columns, channels).transpose(1, 3)
        x = x.reshape(batch * channels * rows, columns, ph, pw).transpose(1, 2)
        return x.reshape(batch, channels, height, width)


class Attention(nn.Module):
    """Scaled dot-product self-attention over joined queries, keys and values; it owns no weights."""

    def __init__(self, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout

    def extra_repr(self) -> str:
        return f"heads={self.heads}, dropout={self.dropout:g}"

    def forward(self, qkv: Tensor) -> Tensor:
        """[B, N, 3·D] to [B, N, D]."""
        batch, length, joined = qkv.shape
        split = qkv.reshape(batch, length, 3, self.heads, joined // 3 // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return y.transpose(1, 2).reshape(batch, length, joined // 3)
