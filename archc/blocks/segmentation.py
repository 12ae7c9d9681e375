"""The heads of semantic segmentation: from feature maps to the scores of every class at every position."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from archc.blocks.base import Block, Net, activate, channels
from archc.blocks.conv import OwnNorm, conv_norm_act
from archc.document.values import Many
from archc.ir import ops
from archc.ir.graph import Node
from archc.language.settings import Init
from archc.language.values import Activation, Channels, Classes, Dilation, Probability


class SegmentationHead(Block):
    """What the heads share. The scores are as large as the features; `{block: resize, to: input}` enlarges them."""

    is_head = True

    out: Classes
    """The number of classes, the background among them; `width_mult` leaves it alone."""
    act: Activation | None = None
    """Default: the spec's `act`."""
    norm: OwnNorm = None
    """Differences from the spec's `norm`."""
    init: Init | None = None
    """Differences from the spec's `init`."""


class LrAspp(SegmentationHead):
    """MobileNetV3's Lite R-ASPP (Howard et al. 2019, arXiv:1905.02244, section 6.4): `high` features, gated by their
    own mean, and `low` ones of a higher resolution, each scored by a 1×1 convolution and added.
    """

    ports: ClassVar[tuple[str, ...] | None] = ("low", "high")

    channels: Channels = 128
    """The width of the branch on the `high` features."""
    gate: Activation = "sigmoid"
    """After the convolution of the mean."""

    @classmethod
    def label(cls) -> str:
        return "LRASPPHead"

    def lower(self, net: Net, *inputs: Node) -> Node:
        low, high = inputs
        width = net.count(self.channels, channels(high))
        y = conv_norm_act(net, high, width, name="project", act=net.act(self.act), norm=net.norm(self.norm))
        with net.scope("scale", "ChannelGate"):
            z = net.add("pool", ops.GlobalPool(), high)
            z = net.add("conv", ops.Conv(width), z)
            z = activate(net, z, self.gate, "gate")
        y = net.add("gated", ops.Gate(), y, z)
        y = net.add("resize", ops.Resize(), y, low)
        low = net.add("low", ops.Conv(self.out, bias=True), low)
        high = net.add("high", ops.Conv(self.out, bias=True), y)
        return net.add("add", ops.Add(), low, high)


class DeepLabV3(SegmentationHead):
    """DeepLabV3's atrous spatial pyramid pooling and its classifier (Chen et al. 2017, arXiv:1706.05587, section 3.3):
    a 1×1 convolution, a dilated 3×3 one per rate and the mean of the image, concatenated and projected.
    """

    rates: Annotated[Many[Dilation], Field(min_length=1, max_length=16)]
    """The dilations. They suit one output stride of the features: from stride 16 to 8, the paper doubles them."""
    channels: Channels = 256
    """The width of every branch, of the projection and of the refinement."""
    dropout: Probability = 0.5
    """After the projection."""
    refine: bool = True
    """A 3×3 convolution between the pyramid and the classifier: torchvision has it, Apple's MobileViT has not."""
    classifier_dropout: Probability = 0.0
    """Of whole channels, before the classifier: Apple's."""

    @classmethod
    def label(cls) -> str:
        return "DeepLabV3Head"

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        act, norm = net.act(self.act), net.norm(self.norm)
        width = net.count(self.channels, channels(x))
        with net.scope("aspp", "ASPP"):
            with net.scope("branches", "Branches"):
                found = [conv_norm_act(net, x, width, name="0", act=act, norm=norm)]
                for number, rate in enumerate(self.rates, start=1):
                    found.append(
                        conv_norm_act(net, x, width, name=str(number), kernel=(3, 3), dilation=rate, act=act, norm=norm)
                    )
                with net.scope(str(len(found)), "ImagePooling"):
                    y = net.add("pool", ops.GlobalPool(), x)
                    y = conv_norm_act(net, y, width, name="project", act=act, norm=norm)
                    found.append(net.add("resize", ops.Resize(), y, x))
            y = net.add("concat", ops.Concat(), *found)
            y = conv_norm_act(net, y, width, name="project", act=act, norm=norm)
            if self.dropout:
                y = net.add("dropout", ops.Dropout(self.dropout), y)
        if self.refine:
            y = conv_norm_act(net, y, width, name="refine", kernel=(3, 3), act=act, norm=norm)
        if self.classifier_dropout:
            y = net.add("dropout", ops.Dropout(self.classifier_dropout, whole_channels=True), y)
        return net.add("classifier", ops.Conv(self.out, bias=True), y)


class Fcn(SegmentationHead):
    """The fully convolutional head (Long et al. 2015, arXiv:1411.4038) in torchvision's form (`fcn.py`): a 3×3
    convolution to a quarter of the channels, dropout and a classifier. torchvision's auxiliary heads are the same.
    """

    channels: Channels | None = None
    """The inner width; default: a quarter of the input's, rounded down."""
    dropout: Probability = 0.1
    """Before the classifier."""

    @classmethod
    def label(cls) -> str:
        return "FCNHead"

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        width = max(1, channels(x) // 4) if self.channels is None else net.count(self.channels, channels(x))
        y = conv_norm_act(net, x, width, name="hidden", kernel=(3, 3), act=net.act(self.act), norm=net.norm(self.norm))
        if self.dropout:
            y = net.add("dropout", ops.Dropout(self.dropout), y)
        return net.add("classifier", ops.Conv(self.out, bias=True), y)
