"""A file's boxes beside torch's. Boxes are compared by matching them: equal scores may come in another order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from archc.backends import builder
from archc.exporting.network import Network
from archc.ir.ops import Image
from archc.ir.state import Array
from archc.language.detector import FasterRcnn, ImageResize

if TYPE_CHECKING:
    import torch

OVERLAP = 0.99
"""The least intersection over union of boxes that match."""

NEAR = 0.05
"""Pixels; boxes whose corners are nearer than this match, too. Tiny ones overlap less for the same error."""

TIED = 1e-6
"""Scores that differ less than this are equal; which of their boxes are kept is then left to chance."""

LEAST = 0.98
"""The share of boxes that must match in f32: rounding moves a few across a threshold. f16 moves many more."""


class Tally(NamedTuple):
    """How many of torch's boxes a file finds, too.

    `tied` ones are missing, but others of torch's boxes have the same score, or their score is where the detector cuts
    off, so that either choice is right. `score_difference` is the largest of boxes that match.
    """

    boxes: int = 0
    matched: int = 0
    tied: int = 0
    score_difference: float = 0.0

    def __add__(self, other: object) -> Tally:
        """The sum of two comparisons."""
        assert isinstance(other, Tally)
        most = max(self.score_difference, other.score_difference)
        return Tally(self.boxes + other.boxes, self.matched + other.matched, self.tied + other.tied, most)

    @property
    def share(self) -> float:
        """The share of the boxes that could match and do; 1 where there is none."""
        certain = self.boxes - self.tied
        return self.matched / certain if certain else 1.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self._asdict(), "share": self.share}


def match(found: Mapping[str, Array], reference: Mapping[str, Array], tolerance: float) -> Tally:
    """Match a file's boxes of one image with torch's, each with one of the same label.

    Args:
        found: the file's `boxes` [N, 4], `labels` [N] and `scores` [N].
        reference: torch's.
        tolerance: the largest difference of scores that match.
    """
    import numpy as np

    overlaps = _overlaps(reference["boxes"], found["boxes"])
    apart = np.abs(reference["boxes"][:, None] - found["boxes"][None]).max(axis=-1, initial=0.0)
    scores = np.abs(reference["scores"][:, None] - found["scores"][None])
    labels = reference["labels"][:, None] == found["labels"][None]
    fits = labels & ((overlaps >= OVERLAP) | (apart <= NEAR)) & (scores <= tolerance)
    free = np.ones(len(found["scores"]), bool)
    matched, tied, worst = 0, 0, 0.0
    theirs = reference["scores"]
    # Where there are fewer boxes than the detector may return, it has cut none off.
    lowest = theirs.min() if len(theirs) else 0.0
    for row, own in enumerate(theirs):
        candidates = np.flatnonzero(fits[row] & free)
        if len(candidates):
            best = candidates[scores[row, candidates].argmin()]
            free[best] = False
            matched, worst = matched + 1, max(worst, float(scores[row, best]))
        elif (np.abs(theirs - own) <= TIED).sum() > 1 or abs(own - lowest) <= TIED:
            tied += 1
    return Tally(len(theirs), matched, tied, worst)


def _overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of every pair of boxes [N, 4] and [M, 4]: [N, M]; 0 for boxes without an area."""
    import numpy as np

    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    result: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


@dataclass(frozen=True)
class Detector:
    """The detector in torch, for images that are resized and normalised already, as a file takes them."""

    module: torch.nn.Module

    @classmethod
    def of(cls, network: Network) -> Detector:
        """That of a network: torchvision's own, which leaves images of the network's size as they are."""
        graph = network.graph
        image, given, settings = graph.input.shape, graph.preprocessing, graph.detector
        assert isinstance(image, Image)
        assert given is not None
        assert settings is not None
        if isinstance(settings, FasterRcnn):
            sides = sorted((image.height, image.width))
            resize = ImageResize(min_size=(sides[0],), max_size=sides[1], size_divisible=1)
            settings = settings.model_copy(update={"resize": resize})
        plain = given.model_copy(update={"mean": 0.0, "std": 1.0})
        graph = replace(graph, detector=settings, preprocessing=plain)
        return cls(builder("torch").build(graph, state=network.state).eval())

    def __call__(self, image: Array) -> dict[str, Array]:
        """The boxes in one normalised image [1, channels, height, width]."""
        import torch

        with torch.inference_mode():
            (found,) = self.module([torch.from_numpy(image[0])])
        return {name: value.numpy() for name, value in found.items()}
