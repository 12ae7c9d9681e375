"""Blocks: from a row to primitive operations. The only code that knows what a block is.

To add one to archc: a file with a `Block` subclass, a line in `BUILTIN`, a test. Users add theirs without touching
archc: `REGISTRY.register`, an entry point in the group `archc.blocks`, or `block: package.module:Class` in a row of a
spec that is loaded with `allow=["package"]`.

This module exports what a block's author needs: `Block` and `Net`, the types of columns (`Channels`, `Kernel`, …), the
groups of operations that most blocks are made of (`conv_norm_act`, `squeeze_excite`, `activate`), and the primitive
operations themselves, `ops`.
"""

from __future__ import annotations

from archc.blocks.base import Block, Net, activate, channels, image
from archc.blocks.bottleneck import Bottleneck, InvertedResidual
from archc.blocks.conv import Conv, Groups, OwnNorm, conv_norm_act
from archc.blocks.detection import Fpn, RpnLevelHead, SsdExtra, SsdLevelHead
from archc.blocks.hints import HINTS
from archc.blocks.mobilevit import MobileVit
from archc.blocks.segmentation import DeepLabV3, Fcn, LrAspp
from archc.blocks.simple import Add, Concat, Dropout, Linear, Pool, Resize
from archc.blocks.squeeze_excite import SqueezeColumn, squeeze_excite
from archc.document.values import reject
from archc.ir import ops
from archc.ir.graph import Node
from archc.ir.ops import ShapeError
from archc.language.registry import REGISTRY
from archc.language.settings import Init
from archc.language.values import (
    Activation,
    Channels,
    Classes,
    Dilation,
    Epsilon,
    Expansion,
    Kernel,
    Padding,
    Positive,
    Probability,
    Reference,
    Stride,
)

BUILTIN: dict[str, type[Block]] = {
    "conv": Conv,
    "inverted_residual": InvertedResidual,
    "bottleneck": Bottleneck,
    "mobilevit": MobileVit,
    "fpn": Fpn,
    "ssd_extra": SsdExtra,
    "ssd_head": SsdLevelHead,
    "rpn_head": RpnLevelHead,
    "pool": Pool,
    "linear": Linear,
    "dropout": Dropout,
    "add": Add,
    "concat": Concat,
    "resize": Resize,
    "lraspp": LrAspp,
    "deeplab_v3": DeepLabV3,
    "fcn": Fcn,
}

for _name, _block in BUILTIN.items():
    REGISTRY.register(_name, _block)
REGISTRY.hints.update(HINTS)

__all__ = [
    "BUILTIN",
    "REGISTRY",
    "Activation",
    "Block",
    "Channels",
    "Classes",
    "Dilation",
    "Epsilon",
    "Expansion",
    "Groups",
    "Init",
    "Kernel",
    "Net",
    "Node",
    "OwnNorm",
    "Padding",
    "Positive",
    "Probability",
    "Reference",
    "ShapeError",
    "SqueezeColumn",
    "Stride",
    "activate",
    "channels",
    "conv_norm_act",
    "image",
    "ops",
    "reject",
    "squeeze_excite",
]
