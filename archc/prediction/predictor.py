"""What all tasks share: images are read ahead, run in batches, and answered in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from PIL import Image

from archc.document.diagnostics import Diagnostic
from archc.prediction.errors import ImageError
from archc.prediction.results import Result, Skipped
from archc.prediction.sources import ImageSource, path_of
from archc.prediction.stream import read_ahead


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as the network takes it, channels × height × width, and, for tasks that need it, as it was read."""

    source: ImageSource
    pixels: torch.Tensor
    image: Image.Image | None = None


_Result_co = TypeVar("_Result_co", bound=Result, covariant=True)


class Predictor(Protocol[_Result_co]):
    """A network with its task: how an image is prepared, and what is found in a batch of images."""

    def prepare(self, source: ImageSource) -> Prepared:
        """Read and prepare one image; called in threads.

        Raises:
            ImageError: it cannot be used.
        """

    def run(self, batch: Sequence[Prepared]) -> Iterable[_Result_co | Skipped]:
        """The results of prepared images of one size, in order."""


def run(
    predictor: Predictor[_Result_co], images: Iterable[ImageSource], batch_size: int
) -> Iterator[_Result_co | Skipped]:
    """Run a network on images, in their order. An image that cannot be used is skipped, with the reason.

    Only neighbours of one size share a batch. At most two batches are in memory, however many images there are.
    """

    def prepared(source: ImageSource) -> Prepared | Skipped:
        try:
            return predictor.prepare(source)
        except ImageError as error:
            return Skipped(path_of(source), error)

    batch: list[Prepared] = []
    for item in read_ahead(prepared, images, batch_size):
        full = len(batch) == batch_size
        if batch and (full or isinstance(item, Skipped) or item.pixels.shape != batch[0].pixels.shape):
            yield from predictor.run(batch)
            batch = []
        if isinstance(item, Skipped):
            yield item
        else:
            batch.append(item)
    if batch:
        yield from predictor.run(batch)


def not_finite(source: ImageSource) -> Skipped:
    """An image for which the network computes nan or inf."""
    message = f"the network computes nan or inf for `{source}`: its weights hold nan, inf or far too large values"
    return Skipped(path_of(source), ImageError(Diagnostic("not-finite", message)))
