"""The boxes that a detector's predictions start from, and what turns predictions into boxes; from the graph alone.

They equal torchvision's `DefaultBoxGenerator` and `AnchorGenerator` (`models/detection/anchor_utils.py`) to the last
bit, for one image that fills the network's input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from archc.ir.graph import Graph
from archc.ir.ops import Image
from archc.language.detector import Anchors, DefaultBoxes, FasterRcnn, Ssd, of_level

if TYPE_CHECKING:
    from archc.ir.state import Array

Weights = tuple[float, float, float, float]
"""What the predictions for x, y, width and height are divided by."""

SSD_WEIGHTS: Final[Weights] = (10.0, 10.0, 5.0, 5.0)
"""Those of torchvision's `SSD`, which has no setting for them."""
RPN_WEIGHTS: Final[Weights] = (1.0, 1.0, 1.0, 1.0)
"""Those of its region proposal network."""
LARGEST: Final = math.log(1000 / 16)
"""The largest logarithm by which a box may grow."""


def anchors(graph: Graph) -> tuple[Array, ...]:
    """A detector's anchors for the graph's size of image, one array for each level: [boxes, 4], 32-bit floats.

    A box is x1, y1, x2, y2 in pixels of the input. The boxes go row by row over the level's positions; all boxes of one
    position stand together, in the order in which the head's channels predict them.

    Raises:
        ValueError: the graph is no detector's.
    """
    import numpy as np

    if graph.detector is None:
        raise ValueError(f"`{graph.name}` is no detector")
    image = graph.input.shape
    assert isinstance(image, Image)
    found = []
    for number, node in enumerate(graph.levels.values()):
        level = graph.shapes()[node]
        assert isinstance(level, Image)
        if isinstance(graph.detector, Ssd):
            found.append(_default_boxes(graph.detector.boxes, number, len(graph.levels), level, image))
        else:
            found.append(_grid_anchors(graph.detector.anchors, number, level, image))
    return tuple(np.ascontiguousarray(boxes) for boxes in found)


def box_weights(detector: FasterRcnn | Ssd) -> Weights:
    """What the predictions for final boxes are divided by."""
    if isinstance(detector, Ssd):
        return SSD_WEIGHTS
    x, y, width, height = detector.box.reg_weights
    return x, y, width, height


def decode(deltas: Array, boxes: Array, weights: Weights) -> Array:
    """Predictions as boxes: torchvision's `BoxCoder.decode_single` for one prediction a box.

    Args:
        deltas: [N, 4], the predicted changes of x, y, width and height.
        boxes: [N, 4], the corners of the boxes that they change.
        weights: what the predictions are divided by.
    """
    import numpy as np

    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + np.float32(0.5) * size
    deltas = deltas / np.asarray(weights, np.float32)
    middle = deltas[:, :2] * size + centre
    half = np.float32(0.5) * (np.exp(np.minimum(deltas[:, 2:], np.float32(LARGEST))) * size)
    return np.concatenate([middle - half, middle + half], axis=1)


def _default_boxes(settings: DefaultBoxes, number: int, levels: int, level: Image, image: Image) -> Array:
    """Liu et al. 2016, arXiv:1512.02325, section 2.2, with torchvision's spacing of scales."""
    import numpy as np

    sides = np.array(_sides(settings, number, levels), np.float32)
    if settings.clip:
        sides = sides.clip(0, 1)
    columns, rows = float(level.width), float(level.height)
    if settings.steps is not None:
        step = of_level(settings.steps, number)
        columns, rows = image.width / step, image.height / step
    x = (np.arange(level.width, dtype=np.float32) + np.float32(0.5)) / np.float32(columns)
    y = (np.arange(level.height, dtype=np.float32) + np.float32(0.5)) / np.float32(rows)
    grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 1, 2)
    centres, sides = np.broadcast_arrays(grid, sides[None])
    pixels = np.array([image.width, image.height], np.float32)
    half = np.float32(0.5) * sides
    corners = np.concatenate([(centres - half) * pixels, (centres + half) * pixels], axis=-1)
    return corners.reshape(-1, 4)


def _sides(settings: DefaultBoxes, number: int, levels: int) -> list[tuple[float, float]]:
    """Width and height of the boxes at one position, as shares of the image."""
    scales = settings.scales
    if scales is None:
        low, high = settings.min_ratio, settings.max_ratio
        spread = [low + (high - low) * level / (levels - 1.0) for level in range(levels)] if levels > 1 else [low]
        scales = (*spread, 1.0 if levels > 1 else high)
    scale, between = scales[number], math.sqrt(scales[number] * scales[number + 1])
    found = [(scale, scale), (between, between)]
    for ratio in of_level(settings.aspect_ratios, number):
        root = math.sqrt(ratio)
        found += [(scale * root, scale / root), (scale / root, scale * root)]
    return found


def _grid_anchors(settings: Anchors, number: int, level: Image, image: Image) -> Array:
    """Ren et al. 2015, arXiv:1506.01497, section 3.1.1; torchvision rounds the boxes to whole pixels."""
    import numpy as np

    sizes = np.array(of_level(settings.sizes, number), np.float32)
    tall = np.sqrt(np.array(of_level(settings.aspect_ratios, number), np.float32))
    width = ((1 / tall)[:, None] * sizes[None]).reshape(-1)
    height = (tall[:, None] * sizes[None]).reshape(-1)
    cell = np.round(np.stack([-width, -height, width, height], axis=1) / 2)
    x = np.arange(level.width, dtype=np.float32) * (image.width // level.width)
    y = np.arange(level.height, dtype=np.float32) * (image.height // level.height)
    grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 1, 2)
    found: Array = (np.concatenate([grid, grid], axis=-1) + cell[None]).reshape(-1, 4)
    return found.astype(np.float32)
