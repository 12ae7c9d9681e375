"""Classification: from pictures to the most probable classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from archc.language.settings import Input
from archc.prediction.images import Preparation
from archc.prediction.runner import Prepared, Skipped, not_finite
from archc.prediction.scores import Scores


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and how probable it is; `name` is None where classes have numbers only."""

    index: int
    name: str | None
    probability: float


class Classified(NamedTuple):
    """A picture with its most probable classes, the best first."""

    image: Path
    predictions: tuple[Prediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image` and `predictions`."""
        return {"image": str(self.image), "predictions": [asdict(prediction) for prediction in self.predictions]}


class Classifier:
    """A network with what it takes to classify pictures: the input preprocessing and the classes' names.

    `top` is how many classes are told; None tells all of them.
    """

    def __init__(
        self, scores: Scores, preprocessing: Input, names: Sequence[str] | None = None, top: int | None = 5
    ) -> None:
        self.scores = scores
        self.names = names
        self.top = top
        self._preparation = Preparation(preprocessing)

    def prepare(self, path: Path) -> Prepared:
        """Read one picture, resize and crop it.

        Raises:
            ImageError: it cannot be used.
        """
        return Prepared(path, self._preparation(path))

    def run(self, batch: Sequence[Prepared]) -> Iterator[Classified | Skipped]:
        """The most probable classes of each picture."""
        rows = self.probabilities(torch.stack([prepared.pixels for prepared in batch]))
        for prepared, row in zip(batch, rows, strict=True):
            yield self._ranked(prepared.path, row)

    def probabilities(self, pictures: torch.Tensor) -> torch.Tensor:
        """The probability of every class, for a batch of prepared pictures."""
        return self.scores(pictures).softmax(dim=1)

    def _ranked(self, path: Path, probabilities: torch.Tensor) -> Classified | Skipped:
        if not probabilities.isfinite().all():
            return not_finite(path)
        count = min(self.top or len(probabilities), len(probabilities))
        values, indices = (found.tolist() for found in probabilities.topk(count))
        names = self.names
        ranked = zip(indices, values, strict=True)
        return Classified(path, tuple(Prediction(i, names[i] if names else None, p) for i, p in ranked))
