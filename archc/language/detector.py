"""`detector:` of a spec: the object detector around the network, whose outputs are the detector's levels.

Every key is an argument of torchvision's classes, by torchvision's name without its prefix and with torchvision's
default, so a spec states only what its model changes. `num_classes` includes the background, and `input` holds the mean
and the deviation that normalise images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from archc.document.model import Settings
from archc.document.values import Expected, Many, reject
from archc.language.settings import Init, Initializer, Norm, NormKind, parse_norm
from archc.language.values import Activation, Kernel, Positive, References

_T = TypeVar("_T")
PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
Share = Annotated[float, Field(gt=0, lt=1)]
Threshold = Annotated[float, Field(ge=0, le=1)]
TopN = Annotated[int, Field(ge=1, le=1_000_000)]


def _one_or_more(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value if isinstance(value, tuple) else (value,)


def _short(value: Sequence[Any]) -> Any:
    return value[0] if len(value) == 1 else list(value)


def _per_level(value: object) -> object:
    """A list of numbers stands for every level; a list of lists has one for each."""
    if isinstance(value, list | tuple):
        rows = value if value and all(isinstance(item, list | tuple) for item in value) else (value,)
        return tuple(tuple(_float(v) for v in row) for row in rows)
    return value


def _float(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Side = Annotated[int, Field(ge=1, le=65_536)]
Sides = Annotated[
    tuple[_Side, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=_Side | list[_Side]),
    PlainSerializer(_short),
    Field(min_length=1, max_length=64),
]
"""Pixels: one number, or a list of them."""
_Window = Annotated[int, Field(ge=1, le=255)]
Windows = Annotated[
    tuple[_Window, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=_Window | list[_Window]),
    PlainSerializer(_short),
    Field(min_length=1, max_length=64),
]
"""A window's size: for every level, or a list of one for each."""
Row = Annotated[tuple[PositiveFloat, ...], Field(max_length=64)]
PerLevel = Annotated[
    tuple[Row, ...],
    BeforeValidator(_per_level, json_schema_input_type=list[PositiveFloat] | list[list[PositiveFloat]]),
    PlainSerializer(_short),
    Field(min_length=1, max_length=64),
    Expected("a list of numbers for every level, or a list of such lists, one for each"),
]
"""`[0.5, 1, 2]` for every level, or `[[…], […]]`, one list for each."""
Floats = Annotated[
    tuple[PositiveFloat, ...],
    BeforeValidator(
        lambda value: tuple(_float(v) for v in value) if isinstance(value, list | tuple) else value,
        json_schema_input_type=list[PositiveFloat],
    ),
    Field(min_length=1, max_length=64),
]


def of_level(values: Sequence[_T], level: int) -> _T:
    """The value of one level, where a single one stands for all."""
    return values[0] if len(values) == 1 else values[level]


class ImageResize(Settings):
    """How images of any size become a batch: torchvision's `GeneralizedRCNNTransform`.

    The shorter side becomes `min_size`, but the longer one never more than `max_size`; then zeros are added to the
    right and below.
    """

    min_size: Sides = (800,)
    """The shorter side; of several, training draws one for each image, and inference takes the last."""
    max_size: _Side = 1333
    """The longer side at most."""
    size_divisible: Positive = 32
    """Batches are padded to a multiple of this."""


class Anchors(Settings):
    """The boxes that the region proposal network starts from, at every position of every level."""

    sizes: PerLevel = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    """The square root of the area, in pixels: a list for every level, or one list for all."""
    aspect_ratios: PerLevel = ((0.5, 1.0, 2.0),)
    """Height / width: a list for every level, or one list for all."""

    @model_validator(mode="after")
    def _every_level_has_some(self) -> Anchors:
        for name in ("sizes", "aspect_ratios"):
            if not all(getattr(self, name)):
                reject(f"`{name}` is empty: a level needs anchors", at=(name,))
        return self

    def count(self, level: int) -> int:
        """The anchors at one position of a level."""
        return len(of_level(self.sizes, level)) * len(of_level(self.aspect_ratios, level))


class RpnInit(Init):
    """How the head's weights start."""

    conv: Initializer = ("normal", 0.01)


class BoxInit(Init):
    """How the head's weights start: torch's own default."""

    bias: Literal["zeros", "uniform_fan_in"] = "uniform_fan_in"


class SsdInit(Init):
    """How the weights of the predictions start."""

    conv: Initializer = "xavier_uniform"


class Rpn(Settings):
    """The region proposal network (Ren et al. 2015, arXiv:1506.01497, section 3.1); one head for all levels."""

    depth: Annotated[int, Field(ge=1, le=16)] = 1
    """3×3 convolutions before the two predictions."""
    init: RpnInit = RpnInit()
    pre_nms_top_n_train: TopN = 2000
    """Proposals of each level kept before non-maximum suppression, in training."""
    pre_nms_top_n_test: TopN = 1000
    """The same in inference."""
    post_nms_top_n_train: TopN = 2000
    """Proposals kept after non-maximum suppression, in training."""
    post_nms_top_n_test: TopN = 1000
    """The same in inference; the box head runs on no more of them for one image."""
    nms_thresh: Threshold = 0.7
    """Proposals of a level that overlap more than this (intersection over union) count as one."""
    score_thresh: Threshold = 0.0
    """Proposals below this objectness are dropped."""
    fg_iou_thresh: Threshold = 0.7
    """Anchors that overlap an object at least this much are objects in training."""
    bg_iou_thresh: Threshold = 0.3
    """Anchors that overlap every object less than this are background in training."""
    batch_size_per_image: TopN = 256
    """Anchors that the loss is computed on."""
    positive_fraction: Share = 0.5
    """The share of objects among them, at most."""


class Box(Settings):
    """How proposals are cut out of the levels, and the head that classifies and refines them."""

    levels: Many[str] = ("0", "1", "2", "3")
    """The outputs that proposals are cut out of. Names that no output has are allowed, as the default has four."""
    roi_size: Kernel = (7, 7)
    """Height and width of a proposal that has been cut out."""
    sampling_ratio: Annotated[int, Field(ge=-1, le=64)] = 2
    """Samples along each axis of one of its cells; with -1, the number depends on the proposal's size."""
    hidden: Annotated[Many[Positive], Field(min_length=1, max_length=16)] = (1024, 1024)
    """The widths of the head's fully connected layers."""
    init: BoxInit = BoxInit()
    reg_weights: Annotated[Floats, Field(min_length=4, max_length=4)] = (10.0, 10.0, 5.0, 5.0)
    """Factors of the predicted refinements of x, y, width and height."""
    score_thresh: Threshold = 0.05
    """Detections below this score are dropped."""
    nms_thresh: Threshold = 0.5
    """Detections of a class that overlap more than this count as one."""
    detections_per_img: TopN = 100
    """Detections kept, the best first."""
    fg_iou_thresh: Threshold = 0.5
    """Proposals that overlap an object at least this much are of its class in training."""
    bg_iou_thresh: Threshold = 0.5
    """Proposals that overlap every object less than this are background in training."""
    batch_size_per_image: TopN = 512
    """Proposals that the loss is computed on."""
    positive_fraction: Share = 0.25
    """The share of objects among them, at most."""


class FasterRcnn(Settings):
    """A two-stage detector around the network: torchvision's `FasterRCNN`.

    The reported cost is for one image of `input.size`. Real images have the size that `resize` gives them.
    """

    kind: Literal["faster_rcnn"]
    levels: References | None = None
    """The feature maps; default: the outputs. A spec that states them writes the heads on them as rows of its own."""
    resize: ImageResize = ImageResize()
    anchors: Anchors = Anchors()
    rpn: Rpn = Rpn()
    box: Box = Box()

    @model_validator(mode="after")
    def _one_head_for_all_levels(self) -> FasterRcnn:
        levels = max(len(self.anchors.sizes), len(self.anchors.aspect_ratios))
        if {len(self.anchors.sizes), len(self.anchors.aspect_ratios)} - {1, levels}:
            return self  # the spec counts the levels and reports the mistake
        counts = {self.anchors.count(level) for level in range(levels)}
        if len(counts) > 1:
            few = ", ".join(str(count) for count in sorted(counts))
            reject(
                f"every level needs as many anchors at a position, not {few}",
                "all levels share one head: give each as many sizes × aspect ratios",
                "anchor-levels",
                ("anchors", "sizes" if len(self.anchors.sizes) > 1 else "aspect_ratios"),
            )
        return self


class DefaultBoxes(Settings):
    """The boxes that predictions start from: torchvision's `DefaultBoxGenerator`. Scales are shares of the image.

    At every position there are two squares, the second between this scale and the next, and two boxes for each ratio.
    """

    aspect_ratios: PerLevel = ((2.0, 3.0),)
    """For every level, or one list for all; each ratio stands for itself and its inverse."""
    min_ratio: PositiveFloat = 0.15
    """The first level's scale; those between are spread evenly."""
    max_ratio: PositiveFloat = 0.9
    """The last level's scale."""
    scales: Floats | None = None
    """The scales themselves, one more than levels, in place of `min_ratio` and `max_ratio`."""
    steps: Floats | None = None
    """Pixels from one position to the next, for every level; default: from the levels' sizes."""
    clip: bool = True
    """Clip the boxes to the image."""

    def count(self, level: int) -> int:
        """The default boxes at one position of a level."""
        return 2 + 2 * len(of_level(self.aspect_ratios, level))


class SsdHead(Settings):
    """The predictions from every level: a convolution for the classes and one for the boxes."""

    separable: bool = False
    """A depthwise convolution, its norm and `act`, then a 1×1 convolution (SSDlite: Sandler et al. 2018,
    arXiv:1801.04381, section 6.2), in place of one k×k convolution."""
    joint: bool = False
    """One convolution for the classes and the boxes, as ml-cvnets has it."""
    kernel: Windows = (3,)
    """The window: one for all levels, or one for each; with 1, nothing is separable."""
    project: Annotated[Many[Positive], Field(max_length=64)] = ()
    """Widths, one for each level. A level of another width first goes through a 1×1 convolution to this one."""
    act: Activation = "relu6"
    """After the depthwise convolution."""
    project_act: Activation = "relu"
    """After the projection."""
    norm: Annotated[Norm | None, BeforeValidator(parse_norm, json_schema_input_type=NormKind | Norm | None)] = None
    """Differences from the spec's `norm`."""
    init: SsdInit = SsdInit()


class Ssd(Settings):
    """A one-stage detector around the network: torchvision's `SSD` (Liu et al. 2016, arXiv:1512.02325).

    Images are resized to `input.size`, whatever their proportions, so the reported cost is that of every image.
    """

    kind: Literal["ssd"]
    levels: References | None = None
    """The feature maps; default: the outputs. A spec that states them writes the heads on them as rows of its own."""
    boxes: DefaultBoxes = DefaultBoxes()
    head: SsdHead = SsdHead()
    score_thresh: Threshold = 0.01
    """Detections below this score are dropped."""
    nms_thresh: Threshold = 0.45
    """Detections of a class that overlap more than this count as one."""
    detections_per_img: TopN = 200
    """Detections kept, the best first."""
    topk_candidates: TopN = 400
    """Detections of each class kept before non-maximum suppression."""
    iou_thresh: Threshold = 0.5
    """Default boxes that overlap an object at least this much are of its class in training."""
    positive_fraction: Share = 0.25
    """The share of objects in the loss: 0.25 is three of the hardest backgrounds for each."""


Detector = Annotated[FasterRcnn | Ssd, Field(discriminator="kind")]


def check_detector(detector: FasterRcnn | Ssd, levels: Sequence[str], num_classes: int) -> None:
    """Check a detector's settings against the spec's outputs, which are its levels.

    Raises:
        PydanticCustomError: a setting for each level has another number of levels; no level is left to cut proposals
            out of; there is no class beside the background.
    """
    if num_classes < 2:
        reject("a detector needs two classes or more: the background is one", at=("num_classes",))
    for path, number, extra in _counted(detector):
        if number != len(levels) + extra and (number > 1 or extra):
            named = ", ".join(f"`{name}`" for name in levels)
            per = f"{len(levels)} levels and one more" if extra else f"{len(levels)} level{'s' * (len(levels) != 1)}"
            reject(
                f"`{path[-1]}` is of {number} level{'s' * (number != 1)}, but the outputs are {per}: {named}",
                "" if extra else "give one for each level, or one for all",
                "anchor-levels",
                ("detector", *path),
            )
    if isinstance(detector, FasterRcnn) and not set(detector.box.levels) & set(levels):
        named = ", ".join(f"`{name}`" for name in levels)
        reject(
            "`levels` names none of the outputs", f"the outputs are {named}", "unknown-reference",
            ("detector", "box", "levels"),
        )  # fmt: skip


def _counted(detector: FasterRcnn | Ssd) -> list[tuple[tuple[str, ...], int, int]]:
    """Every setting for each level: its path, how many values it has, and how many more than levels it needs."""
    if isinstance(detector, FasterRcnn):
        anchors = detector.anchors
        return [
            (("anchors", "sizes"), len(anchors.sizes), 0),
            (("anchors", "aspect_ratios"), len(anchors.aspect_ratios), 0),
        ]
    boxes, head = detector.boxes, detector.head
    found: list[tuple[tuple[str, ...], int, int]] = [
        (("boxes", "aspect_ratios"), len(boxes.aspect_ratios), 0),
        (("head", "kernel"), len(head.kernel), 0),
    ]
    if head.project:
        found.append((("head", "project"), len(head.project), 0))
    if boxes.steps is not None:
        found.append((("boxes", "steps"), len(boxes.steps), 0))
    if boxes.scales is not None:
        found.append((("boxes", "scales"), len(boxes.scales), 1))
    return found
