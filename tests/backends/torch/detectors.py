"""Torchvision's own detectors, as its builders make them for its published weights, and how to compare ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import skimage.data
import torch
import torchvision.models as tv
from torch import nn
from torchvision.models import detection as tvd
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _mobilenet_extractor, _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

Target = dict[str, torch.Tensor]


def _mobilenet(norm: type[nn.Module] = FrozenBatchNorm2d, **changes: Any) -> nn.Module:
    """What `_fasterrcnn_mobilenet_v3_large_fpn` builds around weights, which it would download, without them."""
    backbone = _mobilenet_extractor(tv.mobilenet_v3_large(norm_layer=norm), True, 6)
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    model: nn.Module = tvd.FasterRCNN(
        backbone, 91, rpn_anchor_generator=anchors, **{"rpn_score_thresh": 0.05, **changes}
    )
    return model


def _resnet() -> nn.Module:
    model: nn.Module = tvd.FasterRCNN(_resnet_fpn_extractor(tv.resnet50(norm_layer=FrozenBatchNorm2d), 5), 91)
    overwrite_eps(model, 0.0)
    return model


LOW = {"min_size": 320, "max_size": 640, "rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150}

PEERS: dict[str, Callable[[], nn.Module]] = {
    "fasterrcnn_mnv3_large_320_fpn": lambda: _mobilenet(**LOW),
    "ssdlite320_mnv3_large": lambda: tvd.ssdlite320_mobilenet_v3_large(weights_backbone=None),
    "fasterrcnn_mnv3_large_fpn": _mobilenet,
    "fasterrcnn_resnet50_fpn": _resnet,
}
PUBLISHED: dict[str, Any] = {
    "fasterrcnn_mnv3_large_320_fpn": tvd.FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1,
    "ssdlite320_mnv3_large": tvd.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1,
    "fasterrcnn_mnv3_large_fpn": tvd.FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1,
    "fasterrcnn_resnet50_fpn": tvd.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
}


def trainable() -> nn.Module:
    """Torchvision's from scratch, whose norms train."""
    return _mobilenet(nn.BatchNorm2d, **LOW)


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Norms that are not one and zero, frozen or not, and predictions that are sure enough to be kept."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d | FrozenBatchNorm2d):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(model, tvd.FasterRCNN):
            model.rpn.head.cls_logits.weight.mul_(10)
            model.roi_heads.box_predictor.cls_score.weight.mul_(60)
    return model


@cache
def peer(name: str) -> nn.Module:
    """One of torchvision's with random weights that find something, in evaluation mode."""
    torch.manual_seed(0)
    return shaken(PEERS[name]()).eval()


@cache
def photographs() -> tuple[torch.Tensor, ...]:
    """Real ones, of several sizes, as torchvision's detectors take them: [3, H, W] in [0, 1]."""
    arrays = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee())
    return tuple(torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255 for array in arrays)


def targets(images: Iterable[torch.Tensor]) -> list[Target]:
    """Two boxes in each."""
    boxes = torch.tensor([[20.0, 30.0, 200.0, 220.0], [100.0, 50.0, 300.0, 280.0]])
    return [{"boxes": boxes.clone(), "labels": torch.tensor([3, 7])} for _ in images]
