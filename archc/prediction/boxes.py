"""Object detection: boxes around the objects in an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch

from archc.document.diagnostics import Diagnostic
from archc.language.settings import Input
from archc.prediction.errors import ImageError
from archc.prediction.images import as_tensor, check_channels, read
from archc.prediction.predictor import Prepared
from archc.prediction.results import Detected, Detection
from archc.prediction.scores import Boxes
from archc.prediction.sources import ImageSource, path_of
from archc.prediction.thresholds import DEFAULT_THRESHOLD

NARROWEST: Final = 64
"""Largest ratio of an image's sides. Detectors limit the longer side, and the shorter one must not vanish."""


class ObjectDetector:
    """Finds objects in images with a detector of torchvision's kind, which resizes and normalises images itself.

    Objects that score less than `threshold` are left out; `top` limits the objects of an image, the best first.
    """

    def __init__(
        self,
        boxes: Boxes,
        preprocessing: Input,
        names: Sequence[str] | None = None,
        threshold: float = DEFAULT_THRESHOLD,
        top: int | None = None,
    ) -> None:
        check_channels(preprocessing)
        self.boxes = boxes
        self.preprocessing = preprocessing
        self.names = names
        self.threshold = threshold
        self.top = top

    def prepare(self, source: ImageSource) -> Prepared:
        """Read one image.

        Raises:
            ImageError: it cannot be used.
        """
        image = read(source, self.preprocessing.channels)
        if max(image.size) > NARROWEST * min(image.size):
            message = f"`{source}` is {image.width}×{image.height}: too narrow to be resized"
            raise ImageError(Diagnostic("unsupported-image", message))
        return Prepared(source, as_tensor(image, self.preprocessing), image)

    def run(self, batch: Sequence[Prepared]) -> Iterator[Detected]:
        """The objects in each image."""
        found = self.boxes([prepared.pixels for prepared in batch])
        for prepared, one in zip(batch, found, strict=True):
            assert prepared.image is not None
            yield Detected(path_of(prepared.source), prepared.image, self._detections(one), self.threshold)

    def _detections(self, found: Mapping[str, torch.Tensor]) -> tuple[Detection, ...]:
        scores = found["scores"].float()
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] >= self.threshold][: self.top]
        rows = zip(found["labels"][best].tolist(), scores[best].tolist(), found["boxes"][best].tolist(), strict=True)
        names = self.names
        return tuple(
            Detection(index, names[index] if names else None, score, (box[0], box[1], box[2], box[3]))
            for index, score, box in rows
        )
