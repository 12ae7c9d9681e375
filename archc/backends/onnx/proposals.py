"""A Faster R-CNN's boxes from its raw predictions and levels, in ONNX: torchvision's `RegionProposalNetwork`,
`MultiScaleRoIAlign` and `RoIHeads`, for one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from archc.analysis.anchors import RPN_WEIGHTS, anchors, box_weights
from archc.backends.onnx.boxes import DROPPED, Placed, Steps
from archc.ir.graph import Graph
from archc.ir.ops import Image
from archc.language.detector import FasterRcnn

SMALLEST_PROPOSAL: Final = 1e-3
SMALLEST_BOX: Final = 1e-2
"""Pixels; torchvision drops what is narrower."""

Call = Callable[[str], Mapping[str, str]]
"""Writes a network that runs on proposals: the prefix of its names and its input, to its outputs."""


def faster_rcnn(
    steps: Steps, graph: Graph, found: Mapping[str, str], levels: Mapping[str, str], call: Call
) -> dict[str, str]:
    """The results by name: `boxes` [N, 4], `labels` [N], `scores` [N].

    Args:
        steps: the file.
        graph: the whole network.
        found: the raw predictions by the outputs' names.
        levels: the feature maps by name.
        call: writes the box head: pooled features to its outputs.
    """
    settings = graph.detector
    assert isinstance(settings, FasterRcnn)
    box, classes = settings.box, graph.num_classes
    proposals = _proposals(steps, settings, graph, found)
    features = _pooled(steps, settings, graph, proposals, levels)
    predicted = call(features)
    corner, size = steps.size(steps.add("Unsqueeze", proposals, steps.integers(1)))
    centre = steps.add("Add", corner, steps.add("Mul", size, steps.number(0.5)))
    deltas = steps.add("Reshape", predicted["deltas"], steps.integers(-1, classes, 4))
    boxes = steps.decode(deltas, Placed(centre, size), box_weights(settings))
    boxes = steps.add("Transpose", boxes, perm=[1, 0, 2])
    boxes = steps.add("Slice", boxes, steps.integers(1), steps.integers(classes), steps.integers(0))
    scores = steps.by_class(predicted["scores"])
    scores = steps.add("Where", steps.large(boxes, SMALLEST_BOX), scores, steps.number(DROPPED))
    return steps.detections(boxes, scores, box.detections_per_img, box.nms_thresh, box.score_thresh)


def _proposals(steps: Steps, settings: FasterRcnn, graph: Graph, found: Mapping[str, str]) -> str:
    """The boxes [R, 4] that the region proposal network keeps, the best first."""
    rpn = settings.rpn
    boxes, scores = [], []
    for level, start in zip(graph.levels, anchors(graph), strict=True):
        shape = graph.shapes()[graph.outputs[f"objectness_{level}"]]
        assert isinstance(shape, Image)
        most = min(rpn.pre_nms_top_n_test, len(start))
        logits = steps.add("Reshape", steps.rows(found[f"objectness_{level}"], 1, shape), steps.integers(-1))
        best, index = steps.several("TopK", 2, logits, steps.integers(most), axis=0)
        deltas = steps.rows(found[f"deltas_{level}"], 4, Image(4 * shape.channels, shape.height, shape.width))
        placed = Placed(*[steps.add("Gather", part, index, axis=0) for part in steps.placed(start)])
        decoded = steps.decode(steps.add("Gather", deltas, index, axis=0), placed, RPN_WEIGHTS)
        probable = steps.add("Sigmoid", best)
        fits = steps.large(decoded, SMALLEST_PROPOSAL)
        fits = steps.add("And", fits, steps.add("GreaterOrEqual", probable, steps.number(rpn.score_thresh)))
        kept = steps.suppress(
            steps.add("Unsqueeze", decoded, steps.integers(0)),
            steps.add("Unsqueeze", steps.add("Where", fits, probable, steps.number(DROPPED)), steps.integers(0)),
            rpn.post_nms_top_n_test,
            rpn.nms_thresh,
            DROPPED / 2,
        )
        chosen = steps.add("Gather", kept, steps.number(1, np.int64), axis=1)
        boxes.append(steps.add("Gather", decoded, chosen, axis=0))
        scores.append(steps.add("Gather", probable, chosen, axis=0))
    _, order = steps.best(steps.add("Concat", *scores, axis=0), rpn.post_nms_top_n_test)
    return steps.add("Gather", steps.add("Concat", *boxes, axis=0), order, axis=0)


def _pooled(steps: Steps, settings: FasterRcnn, graph: Graph, boxes: str, levels: Mapping[str, str]) -> str:
    """What the levels hold inside of boxes, [R, channels, height, width]: torchvision's `MultiScaleRoIAlign`."""
    box = settings.box
    names = [name for name in levels if name in box.levels]
    shapes = [graph.shapes()[graph.levels[name]] for name in names]
    steps_down = [_halvings(shape, steps.image) for shape in shapes]
    if len(names) == 1:
        return _aligned(steps, settings, levels[names[0]], boxes, steps_down[0])
    number = _level_of(steps, boxes, steps_down)
    parts, places = [], []
    for index, (name, down) in enumerate(zip(names, steps_down, strict=True)):
        inside = steps.add("NonZero", steps.add("Equal", number, steps.number(index, np.int64)))
        place = steps.add("Squeeze", inside, steps.integers(0))
        parts.append(_aligned(steps, settings, levels[name], steps.add("Gather", boxes, place, axis=0), down))
        places.append(place)
    first = shapes[0]
    assert isinstance(first, Image)
    size = steps.integers(first.channels, *box.roi_size)
    count = steps.add("Shape", number)
    zeros = steps.add("Expand", steps.number(0), steps.add("Concat", count, size, axis=0))
    where = steps.add("Unsqueeze", steps.add("Concat", *places, axis=0), steps.integers(1))
    return steps.add("ScatterND", zeros, where, steps.add("Concat", *parts, axis=0))


def _aligned(steps: Steps, settings: FasterRcnn, level: str, boxes: str, halvings: int) -> str:
    box = settings.box
    count = steps.add("Slice", steps.add("Shape", boxes), steps.integers(0), steps.integers(1))
    image = steps.add("Expand", steps.number(0, np.int64), count)
    return steps.add(
        "RoiAlign",
        level,
        boxes,
        image,
        output_height=box.roi_size[0],
        output_width=box.roi_size[1],
        sampling_ratio=max(box.sampling_ratio, 0),
        spatial_scale=2.0**-halvings,
        coordinate_transformation_mode="output_half_pixel",
        mode="avg",
    )


def _halvings(level: Any, image: Image) -> int:
    """How often the image was halved to get to a level, as torchvision infers it from their heights."""
    return -round(math.log2(level.height / image.height))


def _level_of(steps: Steps, boxes: str, halvings: Sequence[int]) -> str:
    """The number of the level that each box is cut out of (Lin et al. 2017, arXiv:1612.03144, equation 1).

    There, the level is the logarithm of the box's size, rounded down; here, as many levels are passed as there are
    limits below the size. torchvision adds 1e-6 to the logarithm.
    """
    _, size = steps.size(boxes)
    width, height = steps.several("Split", 2, size, steps.integers(1, 1), axis=-1)
    side = steps.add("Sqrt", steps.add("Mul", width, height))
    low, high = halvings[0], halvings[-1]
    limits = [224 * 2.0 ** (level - 4 - 1e-6) for level in range(low + 1, high + 1)]
    if not limits:
        shape = steps.add("Slice", steps.add("Shape", boxes), steps.integers(0), steps.integers(1))
        return steps.add("Expand", steps.number(0, np.int64), shape)
    passed = steps.add("Cast", steps.add("GreaterOrEqual", side, steps.number([limits])), to=7)
    return steps.add("ReduceSum", passed, steps.integers(1), keepdims=0)
