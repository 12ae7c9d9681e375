"""The `conv` row, and the convolution-norm-activation group that most blocks are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from archc.blocks.base import Block, Net, activate, channels
from archc.ir import ops
from archc.ir.graph import Node
from archc.language.settings import Init, Norm, NormKind, parse_norm
from archc.language.values import Activation, Channels, Dilation, Kernel, Padding, Positive, Stride

Groups = Positive | Literal["depthwise"]
OwnNorm = Annotated[Norm | None, BeforeValidator(parse_norm, json_schema_input_type=NormKind | Norm | None)]


class Conv(Block):
    """A convolution with its normalisation and activation."""

    out: Channels
    """Output channels."""
    kernel: Kernel = (3, 3)
    """Window size."""
    stride: Stride = 1
    dilation: Dilation = 1
    groups: Groups = 1
    """Groups of channels, or `depthwise` for one per input channel."""
    act: Activation | None = None
    """Default: the spec's `act`."""
    norm: OwnNorm = None
    """Differences from the spec's `norm`; `none` for no normalisation."""
    init: Init | None = None
    """Differences from the spec's `init`."""
    bias: bool | None = None
    """Default: only where there is no normalisation."""
    padding: Padding | None = None
    """Default: the spec's `padding`."""

    @classmethod
    def label(cls) -> str:
        return "ConvNormAct"

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        return conv_norm_act(
            net,
            x,
            net.count(self.out, channels(x)),
            kernel=self.kernel,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            act=net.act(self.act),
            norm=net.norm(self.norm),
            bias=self.bias,
            padding=net.padding(self.padding),
        )


def conv_norm_act(
    net: Net,
    x: Node,
    out: int,
    *,
    act: str,
    norm: Norm,
    name: str | None = None,
    kernel: ops.Pair = (1, 1),
    stride: int = 1,
    dilation: int = 1,
    groups: Groups = 1,
    bias: bool | None = None,
    padding: Padding = "symmetric",
    norm_scale: float = 1.0,
) -> Node:
    """Add a convolution, its norm and its activation: in a scope of that `name`, or in the open one without it."""
    if name is not None:
        with net.scope(name, Conv.label()):
            return conv_norm_act(
                net, x, out, act=act, norm=norm, kernel=kernel, stride=stride, dilation=dilation, groups=groups,
                bias=bias, padding=padding, norm_scale=norm_scale,
            )  # fmt: skip
    if groups == "depthwise":
        groups = channels(x)
    if bias is None:
        bias = norm.kind == "none"
    if stride == 1 and padding == "same" and all(k % 2 for k in kernel):
        padding = "symmetric"  # the same numbers, by the plain convolution that every runtime has
    y = net.add("conv", ops.Conv(out, kernel, stride, dilation, groups, bias, padding), x)
    if norm.kind != "none":
        y = net.add("norm", ops.BatchNorm(norm.eps, norm.momentum, norm_scale, norm.kind == "frozen_batch"), y)
    return activate(net, y, act)
