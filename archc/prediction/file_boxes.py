"""An exported detector's file as `Boxes`: images are resized to the file's size, and boxes scaled back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from archc.document.diagnostics import Diagnostic
from archc.ir.graph import Graph
from archc.language.detector import Ssd
from archc.prediction.errors import PredictionError
from archc.runtimes.protocol import CannotRunError, Session

NARROW = 1e-2
"""Pixels of the file's input; what is left of a box in the image must be wider, as torchvision asks of its own."""


class Fitted(NamedTuple):
    """An image as the file takes it, [1, channels, height, width], and the part of it that is not padding."""

    pixels: torch.Tensor
    height: int
    width: int


class FileBoxes:
    """A file with boxes as `Boxes`, by its runtime, one image at a time.

    An SSD's images are stretched to the file's size, as torchvision's `SSD` does it, so the boxes are the same. A
    Faster R-CNN's keep their proportions: they are made as large as fits, and zeros are added to the right and below.
    torchvision chooses another size for each image, so its boxes may differ.
    """

    def __init__(self, session: Session, graph: Graph) -> None:
        assert graph.preprocessing is not None
        self.session = session
        self.stretches = isinstance(graph.detector, Ssd)
        self.pixels = session.input.dtype == "uint8"
        given, channels = graph.preprocessing, graph.preprocessing.channels
        self._mean, self._std = (
            torch.tensor(value if isinstance(value, tuple) else (value,) * channels).view(-1, 1, 1)
            for value in (given.mean, given.std)
        )
        # Zero after normalisation; among pixels, which are in RGB, that is the mean.
        mean = self._mean.flip(0) if given.channel_order == "bgr" else self._mean
        self._padding = mean if self.pixels else torch.zeros_like(mean)
        _, _, height, width = session.input.shape
        assert height is not None
        assert width is not None
        self.height, self.width = height, width

    def __call__(self, images: list[torch.Tensor]) -> list[Mapping[str, torch.Tensor]]:
        """The boxes in each image.

        Raises:
            PredictionError: this system cannot run such files.
        """
        return [self._boxes(image) for image in images]

    def _boxes(self, image: torch.Tensor) -> Mapping[str, torch.Tensor]:
        fitted = self.fitted(image)
        try:
            found = {name: torch.from_numpy(value) for name, value in self.session.run(fitted.pixels.numpy()).items()}
        except CannotRunError as error:
            raise PredictionError(Diagnostic("no-device", f"the file cannot be run here: {error}")) from None
        boxes, (height, width) = found["boxes"], image.shape[1:]
        if not self.stretches:
            inside = torch.tensor([fitted.width, fitted.height] * 2, dtype=boxes.dtype)
            boxes = boxes.minimum(inside)
            wide = (boxes[:, 2:] - boxes[:, :2] >= NARROW).all(dim=1)
            boxes, found = boxes[wide], {name: value[wide] for name, value in found.items()}
        # Divided first, as torchvision does it.
        scale = [
            torch.tensor(float(own)) / torch.tensor(float(file))
            for own, file in ((width, fitted.width), (height, fitted.height))
        ]
        return {**found, "boxes": boxes * torch.stack(scale * 2)}

    def fitted(self, image: torch.Tensor) -> Fitted:
        """An image with values from 0 to 1, [channels, height, width], as the file takes it.

        Its channels are in the network's order, or in RGB for a file that takes pixels.
        """
        own_height, own_width = image.shape[1:]
        height, width = self.height, self.width
        if not self.stretches:
            scale = min(height / own_height, width / own_width)
            height = min(height, max(1, round(own_height * scale)))
            width = min(width, max(1, round(own_width * scale)))
        # torchvision normalises first; pixels are rounded last.
        given = image if self.pixels else (image - self._mean) / self._std
        resized = functional.interpolate(given[None], (height, width), mode="bilinear", align_corners=False)
        filled = self._padding.expand(len(image), self.height, self.width).clone()[None]
        filled[..., :height, :width] = resized
        if self.pixels:
            filled = filled.mul(255).round().to(torch.uint8)
        return Fitted(filled.contiguous(), height, width)
