"""Steps from raw predictions to boxes, in ONNX: what an SSD and a Faster R-CNN have in common.

Everything is for one image of the graph's size. Of equal scores, the lower class comes first, then the box that comes
first, so the result depends on the numbers alone.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from archc.analysis.anchors import LARGEST, Weights
from archc.backends.onnx.writer import Writer
from archc.ir.graph import Graph
from archc.ir.ops import Image
from archc.ir.state import Array

DROPPED: Final = -1.0
"""The score of what is no candidate: lower than every threshold."""


class Placed(NamedTuple):
    """Boxes by their middle and their size, [..., 2] each, by tensor."""

    centre: str
    size: str


class Steps:
    """Steps that both kinds of detector take."""

    def __init__(self, writer: Writer, graph: Graph) -> None:
        self.writer = writer
        image = graph.input.shape
        assert isinstance(image, Image)
        self.image = image

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """An operator with one result."""
        return self.writer.add(op, inputs, **attributes)

    def several(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """An operator with several results."""
        first = self.writer.fresh(op.lower())
        names = [first, *(f"{first}/{number}" for number in range(1, outputs))]
        return self.writer.add_many(op, inputs, names, **attributes)

    def number(self, value: Any, dtype: type = np.float32) -> str:
        """A constant."""
        return self.writer.constant(np.asarray(value, dtype))

    def integers(self, *values: int) -> str:
        """A constant vector, such as a shape."""
        return self.writer.integers(*values)

    def rows(self, prediction: str, columns: int, level: Image) -> str:
        """A level's prediction [1, A·columns, H, W] with one row for each anchor, in the anchors' order."""
        count = level.channels // columns
        split = self.add("Reshape", prediction, self.integers(count, columns, level.height, level.width))
        last = self.add("Transpose", split, perm=[2, 3, 0, 1])
        return self.add("Reshape", last, self.integers(level.height * level.width * count, columns))

    def placed(self, boxes: Array) -> Placed:
        """Boxes that are known now."""
        size = boxes[:, 2:] - boxes[:, :2]
        return Placed(self.number(boxes[:, :2] + np.float32(0.5) * size), self.number(size))

    def decode(self, deltas: str, boxes: Placed, weights: Weights) -> str:
        """Predicted changes [..., 4] of boxes as corners [..., 4], clipped to the image."""
        move, grow = self.several("Split", 2, deltas, self.integers(2, 2), axis=-1)
        move = self.add("Div", move, self.number(weights[:2]))
        grow = self.add("Min", self.add("Div", grow, self.number(weights[2:])), self.number(LARGEST))
        middle = self.add("Add", self.add("Mul", move, boxes.size), boxes.centre)
        half = self.add("Mul", self.add("Mul", self.add("Exp", grow), boxes.size), self.number(0.5))
        corners = self.add("Concat", self.add("Sub", middle, half), self.add("Add", middle, half), axis=-1)
        limits = self.number([self.image.width, self.image.height] * 2)
        return self.add("Min", self.add("Max", corners, self.number(0)), limits)

    def size(self, boxes: str) -> tuple[str, str]:
        """The upper left corners [..., 2] of boxes and their width and height [..., 2]."""
        first, second = self.several("Split", 2, boxes, self.integers(2, 2), axis=-1)
        return first, self.add("Sub", second, first)

    def large(self, boxes: str, least: float) -> str:
        """Whether no side of a box [..., 4] is shorter than `least` pixels: [...]."""
        fits = self.add("GreaterOrEqual", self.size(boxes)[1], self.number(least))
        width, height = self.several("Split", 2, fits, self.integers(1, 1), axis=-1)
        return self.add("Squeeze", self.add("And", width, height), self.integers(-1))

    def suppress(self, boxes: str, scores: str, most: int, overlap: float, threshold: float) -> str:
        """Non-maximum suppression in each of several sets: boxes [S, N, 4] and scores [S, N] to indices [M, 2].

        At most `most` boxes of a set are kept, those that score more than `threshold`.
        """
        kept = self.add(
            "NonMaxSuppression",
            boxes,
            self.add("Unsqueeze", scores, self.integers(1)),
            self.integers(most),
            self.number([overlap]),
            self.number([threshold]),
        )
        return self.add("Gather", kept, self.integers(0, 2), axis=1)  # without the class of the set, which is 0

    def best(self, scores: str, most: int) -> tuple[str, str]:
        """The highest `most` of a vector of scores, or all, and their indices."""
        count = self.add("Min", self.add("Shape", scores), self.integers(most))
        found, index = self.several("TopK", 2, scores, count, axis=0)
        return found, index

    def detections(self, boxes: str, scores: str, most: int, overlap: float, threshold: float) -> dict[str, str]:
        """The results, from boxes [classes, N, 4] and scores [classes, N] of all classes but the background."""
        kept = self.suppress(boxes, scores, most, overlap, threshold)
        found, index = self.best(self.add("GatherND", scores, kept), most)
        classes, _ = self.several("Split", 2, kept, self.integers(1, 1), axis=1)
        labels = self.add("Add", self.add("Squeeze", classes, self.integers(1)), self.number(1, np.int64))
        return {
            "boxes": self.add("Gather", self.add("GatherND", boxes, kept), index, axis=0),
            "labels": self.add("Gather", labels, index, axis=0),
            "scores": found,
        }

    def by_class(self, logits: str) -> str:
        """Probabilities [classes, N] from logits [N, classes], without the background's."""
        scores = self.add("Transpose", self.add("Softmax", logits, axis=1), perm=[1, 0])
        return self.add("Slice", scores, self.integers(1), self.integers(2**31 - 1), self.integers(0))
