"""Semantic segmentation: the class of each pixel of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch.nn import functional

from archc.document.diagnostics import Diagnostic
from archc.language.settings import Input
from archc.prediction.errors import ImageError
from archc.prediction.images import Preparation
from archc.prediction.predictor import Prepared, not_finite
from archc.prediction.results import ClassArea, Segmented, Skipped
from archc.prediction.scores import Scores
from archc.prediction.sources import ImageSource, path_of

Refusal = Callable[[int, int], str]


class Segmenter:
    """Segments images with a network.

    The whole image is resized with its proportions kept, as torchvision's `SemanticSegmentation` preset does. The
    scores are interpolated bilinearly to the image's own size, and each pixel gets the class with the highest score.

    `refuses` takes a height and a width, and returns why the network cannot take an input of this size, or an empty
    text: images differ in shape, and not every network takes every shape. A network for one size gets every image
    `stretched` to it.
    """

    def __init__(
        self,
        scores: Scores,
        preprocessing: Input,
        names: Sequence[str] | None = None,
        refuses: Refusal | None = None,
        *,
        stretched: bool = False,
    ) -> None:
        self.scores = scores
        self.names = names
        self._refuses = cache(refuses) if refuses else lambda height, width: ""
        self._preparation = Preparation(preprocessing, whole=True, stretched=stretched)

    def prepare(self, source: ImageSource) -> Prepared:
        """Read one image and resize it.

        Raises:
            ImageError: it cannot be used.
        """
        image = self._preparation.read(source)
        return Prepared(source, self._preparation.prepare(image), image)

    def run(self, batch: Sequence[Prepared]) -> Iterator[Segmented | Skipped]:
        """The mask of each image."""
        height, width = batch[0].pixels.shape[1:]
        if reason := self._refuses(height, width):
            yield from (_refused(prepared.source, f"{width}×{height}", reason) for prepared in batch)
            return
        found = self.scores(torch.stack([prepared.pixels for prepared in batch]))
        for prepared, scores in zip(batch, found, strict=True):
            image = prepared.image
            assert image is not None
            if not scores.isfinite().all():
                yield not_finite(prepared.source)
                continue
            mask = best_classes(scores, image.height, image.width)
            yield Segmented(path_of(prepared.source), image, mask, self._areas(mask))

    def _areas(self, mask: torch.Tensor) -> tuple[ClassArea, ...]:
        counts = torch.bincount(mask.flatten()).tolist()
        present = sorted((-count, index) for index, count in enumerate(counts) if count)
        names = self.names
        return tuple(
            ClassArea(index, names[index] if names else None, -count, -count / mask.numel()) for count, index in present
        )


def _refused(source: ImageSource, size: str, reason: str) -> Skipped:
    message = f"`{source}` is resized to {size}, which the network cannot take: {reason}"
    return Skipped(path_of(source), ImageError(Diagnostic("image-size", message)))


def best_classes(scores: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The class with the highest score at each pixel: height × width.

    `scores` are classes × any height × any width. They are interpolated one class at a time: all classes at a
    photograph's size would take gigabytes.
    """
    classes = len(scores)
    best = torch.full((height, width), -torch.inf)
    mask = torch.zeros((height, width), dtype=torch.uint8 if classes <= 256 else torch.int32)
    for index in range(classes):
        plane = functional.interpolate(scores[None, index : index + 1], (height, width), mode="bilinear")[0, 0]
        mask.masked_fill_(plane > best, index)
        torch.maximum(best, plane, out=best)
    return mask
