"""Object detection: from pictures to boxes around what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from PIL import Image

from archc.document.diagnostics import Diagnostic
from archc.language.detector import FasterRcnn, Ssd
from archc.language.settings import Input
from archc.prediction.errors import ImageError
from archc.prediction.images import as_tensor, check_channels, read
from archc.prediction.runner import Prepared
from archc.prediction.scores import Boxes

THRESHOLD: Final = 0.5
"""Detectors score hundreds of guesses for every object; those below this are seldom meant to be seen."""

NARROWEST: Final = 64
"""Times as long as wide: detectors limit the longer side, and the shorter one must not vanish."""


class OwnThreshold(NamedTuple):
    """The score below which a detector itself drops boxes, and the spec's key of it."""

    key: str
    score: float


def own_threshold(detector: FasterRcnn | Ssd) -> OwnThreshold:
    """What a detector of this kind keeps."""
    if isinstance(detector, Ssd):
        return OwnThreshold("detector.score_thresh", detector.score_thresh)
    return OwnThreshold("detector.box.score_thresh", detector.box.score_thresh)


@dataclass(frozen=True, slots=True)
class Detection:
    """An object: its class, how sure the network is, and the corners of its box in pixels, x1, y1, x2, y2."""

    index: int
    name: str | None
    score: float
    box: tuple[float, float, float, float]


class Detected(NamedTuple):
    """A picture with what was found in it that scores the threshold or more, the best first."""

    image: Path
    picture: Image.Image
    detections: tuple[Detection, ...]
    threshold: float = THRESHOLD

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image`, its `size` (width, height), and the `detections`."""
        size, found = list(self.picture.size), [asdict(detection) for detection in self.detections]
        return {"image": str(self.image), "size": size, "detections": found}


class Detector:
    """A detector with what it takes to use it: the input preprocessing, the classes' names, and what is worth telling.

    Pictures go in as they are: torchvision's detectors resize and normalise them. What scores `threshold` or more is
    told, and with `top`, no more than so many for each picture.
    """

    def __init__(
        self,
        boxes: Boxes,
        preprocessing: Input,
        names: Sequence[str] | None = None,
        threshold: float = THRESHOLD,
        top: int | None = None,
    ) -> None:
        check_channels(preprocessing)
        self.boxes = boxes
        self.preprocessing = preprocessing
        self.names = names
        self.threshold = threshold
        self.top = top

    def prepare(self, path: Path) -> Prepared:
        """Read one picture.

        Raises:
            ImageError: it cannot be used.
        """
        picture = read(path, self.preprocessing.channels)
        if max(picture.size) > NARROWEST * min(picture.size):
            message = f"`{path}` is {picture.width}×{picture.height}: nothing is left of its width once it is resized"
            raise ImageError(Diagnostic("unsupported-image", message))
        return Prepared(path, as_tensor(picture, self.preprocessing), picture)

    def run(self, batch: Sequence[Prepared]) -> Iterator[Detected]:
        """What is in each picture."""
        found = self.boxes([prepared.pixels for prepared in batch])
        for prepared, one in zip(batch, found, strict=True):
            assert prepared.picture is not None
            yield Detected(prepared.path, prepared.picture, self._detections(one), self.threshold)

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
