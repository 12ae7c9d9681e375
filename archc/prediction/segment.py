"""Semantic segmentation: from pictures to the class of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.nn import functional

from archc.document.diagnostics import Diagnostic
from archc.language.settings import Input
from archc.prediction.errors import ImageError
from archc.prediction.images import Preparation
from archc.prediction.runner import Prepared, Skipped, not_finite
from archc.prediction.scores import Scores

Refusal = Callable[[int, int], str]


@dataclass(frozen=True, slots=True)
class Region:
    """What one class covers of a picture; `name` is None where classes have numbers only."""

    index: int
    name: str | None
    pixels: int
    share: float


class Segmented(NamedTuple):
    """A picture with its classes, the largest first, and its mask: height × width, the class of every pixel."""

    image: Path
    picture: Image.Image
    mask: torch.Tensor
    classes: tuple[Region, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image`, its `size` (width, height), and the `classes` in it."""
        size, classes = list(self.picture.size), [asdict(region) for region in self.classes]
        return {"image": str(self.image), "size": size, "classes": classes}


class Segmenter:
    """A network with what it takes to segment pictures: the input preprocessing and the classes' names.

    A picture is resized as a whole, proportions kept, as torchvision's `SemanticSegmentation` preset does; the scores
    are interpolated bilinearly back to the picture's own size, and the best class of every pixel wins.

    `refuses` says of a height and a width why the network cannot take them, or nothing: pictures differ in shape, and
    not every network takes all that `input.size` turns them into.
    """

    def __init__(
        self, scores: Scores, preprocessing: Input, names: Sequence[str] | None = None, refuses: Refusal | None = None
    ) -> None:
        self.scores = scores
        self.names = names
        self._refuses = cache(refuses) if refuses else lambda height, width: ""
        self._preparation = Preparation(preprocessing, whole=True)

    def prepare(self, path: Path) -> Prepared:
        """Read one picture and resize it.

        Raises:
            ImageError: it cannot be used.
        """
        picture = self._preparation.read(path)
        return Prepared(path, self._preparation.prepare(picture), picture)

    def run(self, batch: Sequence[Prepared]) -> Iterator[Segmented | Skipped]:
        """The mask of each picture."""
        height, width = batch[0].pixels.shape[1:]
        if reason := self._refuses(height, width):
            yield from (_refused(prepared.path, f"{width}×{height}", reason) for prepared in batch)
            return
        found = self.scores(torch.stack([prepared.pixels for prepared in batch]))
        for prepared, scores in zip(batch, found, strict=True):
            picture = prepared.picture
            assert picture is not None
            if not scores.isfinite().all():
                yield not_finite(prepared.path)
                continue
            mask = best_classes(scores, picture.height, picture.width)
            yield Segmented(prepared.path, picture, mask, self._regions(mask))

    def _regions(self, mask: torch.Tensor) -> tuple[Region, ...]:
        counts = torch.bincount(mask.flatten()).tolist()
        present = sorted((-count, index) for index, count in enumerate(counts) if count)
        names = self.names
        return tuple(
            Region(index, names[index] if names else None, -count, -count / mask.numel()) for count, index in present
        )


def _refused(path: Path, size: str, reason: str) -> Skipped:
    message = f"`{path}` is resized to {size}, which the network cannot take: {reason}"
    return Skipped(path, ImageError(Diagnostic("image-size", message)))


def best_classes(scores: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The class with the highest score at every pixel of a picture of this size.

    Scores are classes × their own height × width. One class is interpolated at a time: a photograph's pixels times all
    classes would take gigabytes.
    """
    classes = len(scores)
    best = torch.full((height, width), -torch.inf)
    mask = torch.zeros((height, width), dtype=torch.uint8 if classes <= 256 else torch.int32)
    for index in range(classes):
        plane = functional.interpolate(scores[None, index : index + 1], (height, width), mode="bilinear")[0, 0]
        mask.masked_fill_(plane > best, index)
        torch.maximum(best, plane, out=best)
    return mask
