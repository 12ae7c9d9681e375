"""Object detectors: torchvision's own classes around compiled modules.

`archc.build` of a spec with `detector:` returns torchvision's `FasterRCNN` or `SSD`, whose backbone and heads are
compiled modules. Nothing of torchvision's is rewritten here: anchors, matching, losses and suppression are its own.

A detector takes a list of images, each a tensor [channels, height, width] of any size in `input.channel_order`, with
values from 0 to 1. In training mode it also takes targets, a dict of `boxes` [N, 4] (x1, y1, x2, y2 in pixels) and
`labels` [N] for every image, and returns its losses; otherwise it returns a dict of `boxes`, `labels` and `scores`
for every image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from archc.backends.torch.build import compiled
from archc.backends.torch.layers import Factory
from archc.backends.torch.parts import Parts
from archc.ir.graph import Graph
from archc.language.detector import DefaultBoxes, FasterRcnn, ImageResize, Ssd, of_level

try:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD, SSDScoringHead
    from torchvision.ops import MultiScaleRoIAlign
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "torchvision":
        raise
    needed = "a detector runs torchvision's own classes: pip install 'archc[detection]'"
    raise ModuleNotFoundError(needed, name=error.name) from None


def detector(graph: Graph, split: Parts, factory: Factory) -> nn.Module:
    """The module of a graph with a `detector`, made of these parts, in training mode, before its weights are set."""
    first = graph.shapes()[next(iter(graph.levels.values()))]
    # torchvision's FasterRCNN asks its backbone for `out_channels`.
    modules = {"backbone": compiled(split.backbone.graph, factory, out_channels=first.channels)}
    for part in (*split.heads, *split.calls):
        modules[part.path] = compiled(part.graph, factory, part.inside)
    if isinstance(graph.detector, FasterRcnn):
        return _faster_rcnn(graph.detector, graph, modules)
    assert isinstance(graph.detector, Ssd)
    return _ssd(graph.detector, graph, modules)


def _ssd(settings: Ssd, graph: Graph, modules: Mapping[str, nn.Module]) -> nn.Module:
    assert graph.preprocessing is not None
    height, width = graph.preprocessing.size
    return SSD(  # type: ignore[no-any-return]
        modules["backbone"],
        _default_boxes(settings.boxes, len(graph.levels)),
        (width, height),
        graph.num_classes,
        **_normalise(graph),
        head=_ssd_head(settings, modules, graph.num_classes),
        score_thresh=settings.score_thresh,
        nms_thresh=settings.nms_thresh,
        detections_per_img=settings.detections_per_img,
        iou_thresh=settings.iou_thresh,
        topk_candidates=settings.topk_candidates,
        positive_fraction=settings.positive_fraction,
    )


def _faster_rcnn(settings: FasterRcnn, graph: Graph, modules: Mapping[str, nn.Module]) -> nn.Module:
    rpn, box, levels = settings.rpn, settings.box, list(graph.levels)
    return FasterRCNN(  # type: ignore[no-any-return]
        modules["backbone"],
        **_resize(settings.resize),
        **_normalise(graph),
        rpn_anchor_generator=AnchorGenerator(
            tuple(of_level(settings.anchors.sizes, number) for number in range(len(levels))),
            tuple(of_level(settings.anchors.aspect_ratios, number) for number in range(len(levels))),
        ),
        rpn_head=RpnHead(modules["rpn.head.level"]),
        rpn_pre_nms_top_n_train=rpn.pre_nms_top_n_train,
        rpn_pre_nms_top_n_test=rpn.pre_nms_top_n_test,
        rpn_post_nms_top_n_train=rpn.post_nms_top_n_train,
        rpn_post_nms_top_n_test=rpn.post_nms_top_n_test,
        rpn_nms_thresh=rpn.nms_thresh,
        rpn_fg_iou_thresh=rpn.fg_iou_thresh,
        rpn_bg_iou_thresh=rpn.bg_iou_thresh,
        rpn_batch_size_per_image=rpn.batch_size_per_image,
        rpn_positive_fraction=rpn.positive_fraction,
        rpn_score_thresh=rpn.score_thresh,
        box_roi_pool=MultiScaleRoIAlign(
            [name for name in levels if name in box.levels], box.roi_size, box.sampling_ratio
        ),
        box_head=modules["roi_heads.box_head"],
        box_predictor=BoxPredictor(
            modules["roi_heads.box_predictor.scores"], modules["roi_heads.box_predictor.deltas"]
        ),
        box_score_thresh=box.score_thresh,
        box_nms_thresh=box.nms_thresh,
        box_detections_per_img=box.detections_per_img,
        box_fg_iou_thresh=box.fg_iou_thresh,
        box_bg_iou_thresh=box.bg_iou_thresh,
        box_batch_size_per_image=box.batch_size_per_image,
        box_positive_fraction=box.positive_fraction,
        bbox_reg_weights=box.reg_weights,
    )


def _normalise(graph: Graph) -> dict[str, list[float]]:
    given = graph.preprocessing
    assert given is not None
    return {
        "image_mean": _per_channel(given.mean, given.channels),
        "image_std": _per_channel(given.std, given.channels),
    }


def _resize(resize: ImageResize) -> dict[str, Any]:
    return {"min_size": resize.min_size, "max_size": resize.max_size, "size_divisible": resize.size_divisible}


def _default_boxes(boxes: DefaultBoxes, levels: int) -> nn.Module:
    return DefaultBoxGenerator(  # type: ignore[no-any-return]
        [list(of_level(boxes.aspect_ratios, number)) for number in range(levels)],
        boxes.min_ratio,
        boxes.max_ratio,
        None if boxes.scales is None else list(boxes.scales),
        None if boxes.steps is None else [of_level(boxes.steps, number) for number in range(levels)],
        boxes.clip,
    )


def _ssd_head(detector: Ssd, modules: Mapping[str, nn.Module], classes: int) -> nn.Module:
    def scores(kind: str, columns: int) -> nn.Module:
        inside = f"head.{kind}_head.module_list."
        levels = nn.ModuleList(module for name, module in modules.items() if name.startswith(inside))
        return SSDScoringHead(levels, columns)  # type: ignore[no-any-return]

    if detector.head.joint:
        return JointHead(scores("joint", 4 + classes))
    return SsdHead(scores("classification", classes), scores("regression", 4))


def _per_channel(value: float | tuple[float, ...], channels: int) -> list[float]:
    return [value] * channels if isinstance(value, float) else list(value)


class RpnHead(nn.Module):
    """What torchvision's region proposal network asks of its head, of a compiled one that takes a single level."""

    def __init__(self, level: nn.Module) -> None:
        super().__init__()
        self.level = level

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels [B, C, H, W] to their objectness [B, A, H, W] and their boxes' deltas [B, 4·A, H, W]."""
        found = [self.level(level) for level in levels]
        return [one["objectness"] for one in found], [one["deltas"] for one in found]


class BoxPredictor(nn.Module):
    """The predictor that torchvision's box head calls, made of two compiled modules."""

    def __init__(self, scores: nn.Module, deltas: nn.Module) -> None:
        super().__init__()
        self.scores = scores
        self.deltas = deltas

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, hidden] of proposals to scores [N, classes] and box deltas [N, 4·classes]."""
        return self.scores(features), self.deltas(features)


class SsdHead(nn.Module):
    """Classes and boxes from every level, as torchvision's `SSD` asks for them."""

    def __init__(self, classification_head: nn.Module, regression_head: nn.Module) -> None:
        super().__init__()
        self.classification_head = classification_head
        self.regression_head = regression_head

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Levels [B, C, H, W] to the scores [B, boxes, classes] and the deltas [B, boxes, 4] of all default boxes."""
        return {"bbox_regression": self.regression_head(levels), "cls_logits": self.classification_head(levels)}


class JointHead(nn.Module):
    """The same from one prediction a level, in which each default box has its deltas first, as ml-cvnets has it."""

    def __init__(self, joint_head: nn.Module) -> None:
        super().__init__()
        self.joint_head = joint_head

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """As `SsdHead`'s."""
        found = self.joint_head(levels)
        return {"bbox_regression": found[..., :4], "cls_logits": found[..., 4:]}
