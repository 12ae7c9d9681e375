"""Blocks: from a row to primitive operations. The only code that knows what a block is.

To add one: a file with a `Block` subclass, a line in `BUILTIN`, a test. Users add theirs without touching archc:
`REGISTRY.register`, an entry point in the group `archc.blocks`, or `block: package.module:Class` in the row and
`archc.load(…, allow=["package"])`.
"""

from __future__ import annotations

from archc.blocks.base import Block, Net
from archc.blocks.bottleneck import Bottleneck, InvertedResidual
from archc.blocks.conv import Conv
from archc.blocks.detection import Fpn, RpnLevelHead, SsdExtra, SsdLevelHead
from archc.blocks.hints import HINTS
from archc.blocks.mobilevit import MobileVit
from archc.blocks.segmentation import DeepLabV3, Fcn, LrAspp
from archc.blocks.simple import Add, Concat, Dropout, Linear, Pool, Resize
from archc.language.registry import REGISTRY

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

__all__ = ["BUILTIN", "REGISTRY", "Block", "Net"]
