"""Classification: the most probable classes of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from archc.language.settings import Input
from archc.prediction.images import Preparation
from archc.prediction.predictor import Prepared, not_finite
from archc.prediction.results import Classified, Prediction, Skipped
from archc.prediction.scores import Scores
from archc.prediction.sources import ImageSource, path_of

DEFAULT_TOP = 5
"""Default `--top`."""


class Classifier:
    """Classifies images with a network.

    `top` limits the classes of an image, the most probable first; None gives all of them.
    """

    def __init__(
        self, scores: Scores, preprocessing: Input, names: Sequence[str] | None = None, top: int | None = DEFAULT_TOP
    ) -> None:
        self.scores = scores
        self.names = names
        self.top = top
        self._preparation = Preparation(preprocessing)

    def prepare(self, source: ImageSource) -> Prepared:
        """Read one image, resize and crop it.

        Raises:
            ImageError: it cannot be used.
        """
        return Prepared(source, self._preparation(source))

    def run(self, batch: Sequence[Prepared]) -> Iterator[Classified | Skipped]:
        """The most probable classes of each image."""
        rows = self.probabilities(torch.stack([prepared.pixels for prepared in batch]))
        for prepared, row in zip(batch, rows, strict=True):
            yield self._ranked(prepared.source, row)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """The probability of every class, N × classes, for a batch of prepared images."""
        return self.scores(images).softmax(dim=1)

    def _ranked(self, source: ImageSource, probabilities: torch.Tensor) -> Classified | Skipped:
        if not probabilities.isfinite().all():
            return not_finite(source)
        count = min(self.top or len(probabilities), len(probabilities))
        values, indices = (found.tolist() for found in probabilities.topk(count))
        names = self.names
        ranked = zip(indices, values, strict=True)
        predictions = tuple(Prediction(i, names[i] if names else None, p) for i, p in ranked)
        return Classified(path_of(source), predictions)
