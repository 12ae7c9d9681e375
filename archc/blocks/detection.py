"""The rows of object detectors: a feature pyramid, the levels beyond the backbone's, and the heads on levels.

The `heads` pass writes the heads' rows from the settings under `detector:`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archc.blocks.base import Block, Net, channels
from archc.blocks.conv import OwnNorm, conv_norm_act
from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.ops import ShapeError
from archc.language.settings import Init, Norm
from archc.language.values import Activation, Channels, Kernel, Padding, Positive, Stride


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
            if out < 2:
                raise ShapeError(f"`reduce` halves `out`, which is {out}; make it larger, or say `reduce: false`")
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


Predictions = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Channels of predictions, anchors times classes; `width_mult` leaves them alone."""

_NO_NORM = Norm(kind="none")


class LevelHead(Block):
    """What the heads on a detector's levels share."""

    is_head = True

    level: str = ""
    """The level's name, for reports."""
    init: Init | None = None
    """Differences from the spec's `init`."""


class SsdLevelHead(LevelHead):
    """An SSD's predictions from one level (Liu et al. 2016, arXiv:1512.02325, section 2.1), for classes or boxes.

    `separable` is SSDlite's form (Sandler et al. 2018, arXiv:1801.04381, section 6.2), `project` is ml-cvnets'
    (`cvnets/modules/ssd_heads.py`).
    """

    out: Predictions
    """Channels: boxes at one position times the numbers predicted for each."""
    kernel: Kernel = (3, 3)
    """The window; with 1, nothing is separable."""
    separable: bool = False
    """A depthwise convolution, its norm and `act`, then a 1×1 convolution, in place of one k×k convolution."""
    project: Positive | None = None
    """A width that a 1×1 convolution brings the level to first, where it has another."""
    act: Activation = "relu6"
    """After the depthwise convolution."""
    project_act: Activation = "relu"
    """After the projection."""
    norm: OwnNorm = None
    """Differences from the spec's `norm`, for all but the last convolution."""

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        norm, kernel = net.norm(self.norm), self.kernel
        if kernel != (1, 1):
            if self.project not in (None, channels(x)):
                x = conv_norm_act(net, x, self.project or 1, name="project", act=self.project_act, norm=norm)
            if self.separable:
                x = conv_norm_act(
                    net, x, channels(x), name="depthwise", kernel=kernel, groups="depthwise", act=self.act, norm=norm
                )
                kernel = (1, 1)
        return conv_norm_act(net, x, self.out, name="predict", kernel=kernel, act="none", norm=_NO_NORM)


class RpnLevelHead(LevelHead):
    """The region proposal network's head on one level (Ren et al. 2015, arXiv:1506.01497, section 3.1).

    Its parts `objectness` and `deltas` are the predictions: one and four numbers for each anchor.
    """

    anchors: Positive
    """Anchors at one position."""
    depth: Positive = 1
    """3×3 convolutions before the two predictions."""
    shares: Annotated[int, Field(ge=0)] | None = None
    """The number of the row in the same stage whose weights this one uses; default: weights of its own."""

    def lower(self, net: Net, *inputs: Node) -> Node:
        x = inputs[0]
        with net.scope("conv", "Convs"):
            for number in range(self.depth):
                x = conv_norm_act(net, x, channels(x), name=str(number), kernel=(3, 3), act="relu", norm=_NO_NORM)
        net.add("objectness", ops.Conv(self.anchors, bias=True), x)
        return net.add("deltas", ops.Conv(4 * self.anchors, bias=True), x)
