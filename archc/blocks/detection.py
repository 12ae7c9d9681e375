"""The rows of object detectors: a feature pyramid, and the levels beyond the backbone's.

The heads that predict boxes are made of ordinary rows; see `archc.blocks.heads`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from archc.blocks.base import Block, Net, channels
from archc.blocks.conv import OwnNorm, conv_norm_act
from archc.ir import ops
from archc.ir.graph import Node
from archc.language.settings import Init, Norm
from archc.language.values import Activation, Channels, Kernel, Padding, Stride


class Fpn(Block):
    """A feature pyramid network (Lin et al. 2017, arXiv:1612.03144, section 3) over rows of falling resolution.

    Its levels are its parts, in the order of `from`: `fpn.0.layer0`, `fpn.0.layer1`, …, and `fpn.0.pool`.
    """

    is_head = True
    ports: ClassVar[tuple[str, ...] | None] = None

    out: Channels = 256
    """The channels of every level."""
    top: Literal["pool", "none"] = "pool"
    """`pool`: every second position of the last level as one level more, which only proposals come from."""
    norm: OwnNorm = None
    """Of its convolutions, as differences from the spec's `norm`; default: none, and a bias."""
    init: Init | None = None
    """Differences from the spec's `init`."""

    def lower(self, net: Net, *inputs: Node) -> Node:
        out, norm = net.count(self.out, channels(inputs[-1])), net.norm(self.norm or Norm(kind="none"))
        levels: list[Node] = []
        above: Node | None = None
        for number, x in reversed(list(enumerate(inputs))):
            y = conv_norm_act(net, x, out, name=f"inner{number}", act="none", norm=norm)
            if above is not None:
                resized = net.add(f"resize{number}", ops.Resize("nearest"), above, y)
                y = net.add(f"add{number}", ops.Add(), y, resized)
            levels.append(conv_norm_act(net, y, out, name=f"layer{number}", kernel=(3, 3), act="none", norm=norm))
            above = y
        if self.top == "pool":
            net.add("pool", ops.Pool("max", (1, 1), 2), levels[0])
        return levels[-1]


class SsdExtra(Block):
    """A level beyond the backbone's, as lightweight SSDs have them: a depthwise convolution that strides, and a 1×1.

    torchvision's `ssdlite.py` brings the channels to half of `out` first; ml-cvnets' `ssd.py` does not, has no
    activation between, and takes the mean of the whole image for its last level.
    """

    is_head = True

    out: Channels
    """Output channels."""
    kernel: Kernel = (3, 3)
    """The depthwise window."""
    stride: Stride = 2
    reduce: bool = True
    """A 1×1 convolution to half of `out` first."""
    pool: bool = False
    """The mean over the whole image in place of what strides."""
    act: Activation | None = None
    """After every convolution; default: the spec's `act`."""
    depthwise_act: Activation | None = None
    """After the depthwise one; default: `act`."""
    norm: OwnNorm = None
    """Differences from the spec's `norm`."""
    bias: bool | None = None
    """Of the last convolution; default: only where there is no normalisation."""
    init: Init | None = None
    """Differences from the spec's `init`."""
    padding: Padding | None = None
    """Default: the spec's `padding`."""

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        act, norm, out = net.act(self.act), net.norm(self.norm), net.count(self.out, channels(x))
        if self.pool:
            y = net.add("pool", ops.GlobalPool(), x)
            return conv_norm_act(net, y, out, name="project", act=act, norm=norm, bias=self.bias)
        if self.reduce:
            x = conv_norm_act(net, x, out // 2, name="reduce", act=act, norm=norm)
        x = conv_norm_act(
            net,
            x,
            channels(x),
            name="depthwise",
            kernel=self.kernel,
            stride=self.stride,
            groups="depthwise",
            act=self.depthwise_act or act,
            norm=norm,
            padding=net.padding(self.padding),
        )
        return conv_norm_act(net, x, out, name="project", act=act, norm=norm, bias=self.bias)
