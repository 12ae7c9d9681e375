"""What `archc.predict` returns: one result for each image.

`path` is the image's file, or None for an image that was passed in memory.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from archc.prediction.errors import ImageError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class Result(Protocol):
    """What was found in one image."""

    @property
    def path(self) -> Path | None:
        """The image's file."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image`, and what was found."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class of a whole image, with its probability. `name` is None where only the class's number is known."""

    index: int
    name: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Classified:
    """An image with its most probable classes, the best first."""

    path: Path | None
    predictions: tuple[Prediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image` and `predictions`."""
        return {"image": _shown(self.path), "predictions": [asdict(prediction) for prediction in self.predictions]}


@dataclass(frozen=True, slots=True)
class ClassArea:
    """The pixels of an image that one class covers, as a number and as a share of all pixels."""

    index: int
    name: str | None
    pixels: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """An image with the class of each pixel.

    `mask` is an integer tensor, height × width; `classes` are the areas in it, the largest first.
    """

    path: Path | None
    image: Image
    mask: torch.Tensor
    classes: tuple[ClassArea, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image`, its `size` (width, height), and the `classes` in it."""
        classes = [asdict(area) for area in self.classes]
        return {"image": _shown(self.path), "size": list(self.image.size), "classes": classes}


@dataclass(frozen=True, slots=True)
class Detection:
    """An object: its class, its score from 0 to 1, and its box in the image's pixels: x1, y1, x2, y2."""

    index: int
    name: str | None
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """An image with the objects that score `threshold` or more, the best first."""

    path: Path | None
    image: Image
    detections: tuple[Detection, ...]
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image`, its `size` (width, height), and the `detections`."""
        found = [asdict(detection) for detection in self.detections]
        return {"image": _shown(self.path), "size": list(self.image.size), "detections": found}


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that cannot be used, with the reason."""

    path: Path | None
    error: ImageError

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image` and `error`."""
        return {"image": _shown(self.path), "error": self.error.diagnostic.message}


def _shown(path: Path | None) -> str | None:
    return None if path is None else str(path)
