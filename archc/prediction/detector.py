"""Object detectors: torchvision's own classes around compiled networks.

`archc.build` of a spec with `detector:` returns torchvision's `FasterRCNN` or `SSD`, whose backbone and heads are
compiled modules. Nothing of torchvision's is rewritten here: anchors, matching, losses and suppression are its own.

A detector takes a list of pictures, each a tensor [channels, height, width] of any size in `input.channel_order`, with
values from 0 to 1. In training mode it takes targets, too, a dict of `boxes` [N, 4] (x1, y1, x2, y2 in pixels) and
`labels` [N] for every picture, and returns its losses; else it returns a dict of `boxes`, `labels` and `scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archc.backends.torch import assemble, initialise
from archc.ir.graph import GRAPH, Graph
from archc.language.detector import DefaultBoxes, Detector, FasterRcnn, PictureResize, Ssd, of_level
from archc.language.settings import Input
from archc.weights.origin import spec_of

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


def build(
    graph: Graph,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build the detector of a graph with `calls`, in training mode; arguments are those of the torch backend's `build`.

    The same seed gives the same weights on every build, drawn in the order of the rows and of the calls.

    Raises:
        ValueError: the graph was lowered from a spec without a detector.
    """
    spec = spec_of(graph)
    if spec is None or spec.detector is None:
        raise ValueError(f"`{graph.name}` was not lowered from a spec with a `detector`")
    meta = device is not None and torch.device(device).type == "meta"
    parts = networks(graph)
    modules = {name: assemble(part, device="meta" if meta else "cpu", dtype=dtype) for name, part in parts.items()}
    if not meta:
        generator = torch.Generator().manual_seed(seed) if seed is not None else None
        for name, part in parts.items():
            initialise(modules[name], part, generator)
    model = _detector(spec.detector, graph, modules, spec.num_classes, spec.input)
    setattr(model, GRAPH, graph)
    return model if device is None or meta else model.to(device)


def networks(graph: Graph) -> dict[str, Graph]:
    """What is compiled, by where its module lives: the backbone, then every call that brings weights."""
    return {graph.backbone: graph, **{call.name: call.graph for call in graph.calls if not call.again}}


def _detector(
    detector: Detector, graph: Graph, modules: Mapping[str, nn.Module], classes: int, preprocessing: Input
) -> nn.Module:
    normalise = {
        "image_mean": _per_channel(preprocessing.mean, preprocessing.channels),
        "image_std": _per_channel(preprocessing.std, preprocessing.channels),
    }
    if isinstance(detector, FasterRcnn):
        return _faster_rcnn(detector, graph, modules, normalise)
    height, width = preprocessing.size
    return SSD(  # type: ignore[no-any-return]
        modules[graph.backbone],
        _default_boxes(detector.boxes, len(graph.outputs)),
        (width, height),
        classes,
        **normalise,
        head=_ssd_head(detector, modules, classes),
        score_thresh=detector.score_thresh,
        nms_thresh=detector.nms_thresh,
        detections_per_img=detector.detections_per_img,
        iou_thresh=detector.iou_thresh,
        topk_candidates=detector.topk_candidates,
        positive_fraction=detector.positive_fraction,
    )


def _faster_rcnn(
    detector: FasterRcnn, graph: Graph, modules: Mapping[str, nn.Module], normalise: Mapping[str, list[float]]
) -> nn.Module:
    rpn, box, levels = detector.rpn, detector.box, list(graph.outputs)
    backbone = modules[graph.backbone]
    backbone.out_channels = graph.shapes()[graph.outputs[levels[0]]].channels  # type: ignore[assignment]
    # A single output comes as a tensor, which torchvision calls level 0.
    names = ["0"] if graph.single else [name for name in levels if name in box.levels]
    return FasterRCNN(  # type: ignore[no-any-return]
        backbone,
        **_resize(detector.resize),
        **normalise,
        rpn_anchor_generator=AnchorGenerator(
            tuple(of_level(detector.anchors.sizes, number) for number in range(len(levels))),
            tuple(of_level(detector.anchors.aspect_ratios, number) for number in range(len(levels))),
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
        box_roi_pool=MultiScaleRoIAlign(names, box.roi_size, box.sampling_ratio),
        box_head=modules["roi_heads.box_head"],
        box_predictor=BoxPredictor(modules["roi_heads.box_predictor.proposal"]),
        box_score_thresh=box.score_thresh,
        box_nms_thresh=box.nms_thresh,
        box_detections_per_img=box.detections_per_img,
        box_fg_iou_thresh=box.fg_iou_thresh,
        box_bg_iou_thresh=box.bg_iou_thresh,
        box_batch_size_per_image=box.batch_size_per_image,
        box_positive_fraction=box.positive_fraction,
        bbox_reg_weights=box.reg_weights,
    )


def _resize(resize: PictureResize) -> dict[str, Any]:
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
    """What torchvision's box head asks of its predictor, of a compiled one."""

    def __init__(self, proposal: nn.Module) -> None:
        super().__init__()
        self.proposal = proposal

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, hidden] of proposals to scores [N, classes] and boxes' deltas [N, 4·classes]."""
        found = self.proposal(features)
        return found["scores"], found["deltas"]


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
