"""Bottleneck blocks: 1×1, k×k, 1×1 and a shortcut. Inverted and not, they are one lowering."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archc.blocks.base import Block, Net, activate, channels
from archc.blocks.conv import Groups, OwnNorm, conv_norm_act
from archc.blocks.squeeze_excite import SqueezeColumn, squeeze_excite
from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.ops import ShapeError
from archc.language.settings import Init
from archc.language.values import (
    Activation,
    Channels,
    Dilation,
    Expansion,
    Kernel,
    OutActivation,
    Padding,
    Probability,
    Stride,
)


class InvertedResidual(Block):
    """MobileNetV2's inverted residual with a linear bottleneck (Sandler et al. 2018, arXiv:1801.04381, section 3),
    with MobileNetV3's and EfficientNet's squeeze-and-excitation.
    """

    parts: ClassVar[tuple[str, str, str]] = ("expand", "depthwise", "project")

    kernel: Kernel = (3, 3)
    """The middle convolution's window."""
    expand: Expansion
    """The middle width: a count, or a ratio of the input."""
    out: Channels
    """Output channels."""
    se: SqueezeColumn = False
    """Squeeze-and-excitation after the middle convolution: true, false, a ratio, or differences from `squeeze`."""
    act: Activation | None = None
    """After the first two convolutions; default: the spec's `act`."""
    out_act: OutActivation | None = "none"
    """After the residual sum; `spec`, or null in a row written as a mapping, for the spec's `act`. In a row written as
    a list, null leaves the cell out, as everywhere."""
    stride: Stride = 1
    dilation: Dilation = 1
    groups: Groups = "depthwise"
    """Groups of the middle convolution."""
    skip_expand: bool = True
    """Leave the first convolution out where it would not change the width."""
    shortcut: Literal["identity", "projection"] = "identity"
    """`identity`: a residual only where shapes agree. `projection`: a strided 1×1 convolution where they do not."""
    residual: bool | None = None
    """Default: wherever `shortcut` allows; false for none."""
    norm: OwnNorm = None
    """Differences from the spec's `norm`."""
    init: Init | None = None
    """Differences from the spec's `init`."""
    padding: Padding | None = None
    """Default: the spec's `padding`."""
    drop_path: Annotated[
        Probability | None, Field(description="this row's stochastic depth; default: from the spec's")
    ] = None

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        first, middle, last = self.parts
        norm, act = net.norm(self.norm), net.act(self.act)
        out, width = net.count(self.out, channels(x)), net.count(self.expand, channels(x))
        same = self.stride == 1 and out == channels(x)
        residual = self.residual if self.residual is not None else same or self.shortcut == "projection"
        if residual and not same and self.shortcut == "identity":
            raise ShapeError(f"a residual needs stride 1 and equal channels, not {channels(x)} to {out}")

        y = x
        if width != channels(x) or not self.skip_expand:
            y = conv_norm_act(net, y, width, name=first, act=act, norm=norm)
        y = conv_norm_act(
            net,
            y,
            width,
            name=middle,
            kernel=self.kernel,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            act=act,
            norm=norm,
            padding=net.padding(self.padding),
        )
        if self.se:
            y = squeeze_excite(net, "squeeze", y, self.se, channels(x))
        zeroed = residual and net.init(self.init).residual_norm == "zeros"
        y = conv_norm_act(net, y, out, name=last, act="none", norm=norm, norm_scale=0.0 if zeroed else 1.0)
        if residual:
            if self.drop_path:
                y = net.add("drop_path", ops.DropPath(self.drop_path), y)
            if not same:
                x = conv_norm_act(net, x, out, name="shortcut", stride=self.stride, act="none", norm=norm)
            y = net.add("add", ops.Add(), y, x)
        return activate(net, y, net.act(self.out_act))


class Bottleneck(InvertedResidual):
    """ResNet's bottleneck (He et al. 2015, arXiv:1512.03385, figure 5), its stride on the k×k convolution; with
    `groups`, ResNeXt's. `expand` is the inner width.
    """

    parts: ClassVar[tuple[str, str, str]] = ("reduce", "spatial", "expand")

    expand: Channels
    """The inner width, a count or a ratio of the input."""
    groups: Groups = 1
    """Groups of the middle convolution."""
    skip_expand: bool = False
    """Leave the first convolution out where it would not change the width."""
    shortcut: Literal["identity", "projection"] = "projection"
    """`identity`: a residual only where shapes agree. `projection`: a strided 1×1 convolution where they do not."""
    out_act: OutActivation | None = None
    """After the residual sum; `spec`, the default, for the spec's `act`."""
