"""How far a network's outputs in int8 are from those in float, on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from archc.backends.torch.interpret import Interpreter
from archc.ir.graph import Graph
from archc.ir.ops import Image, Vector
from archc.ir.state import Array
from archc.quantization.observe import batches

Outputs = Mapping[str, Array]
"""What a network returns, by output name, for all images."""


class Change(NamedTuple):
    """An image whose most probable class is another one in int8. The probabilities are float's and int8's."""

    image: str
    was: int
    now: int
    probability: float
    new_probability: float


@dataclass(frozen=True)
class Agreement:
    """Two networks' outputs on the same images.

    `cosine` is the least over the images and outputs. `same` is how many images have the same most probable class, or
    for a mask the share of equal pixels; None where the outputs are no scores. `shift` is the mean change of the
    probability of float's most probable class.
    """

    images: int
    cosine: float
    mean_cosine: float
    same: float | None = None
    shift: float | None = None
    changes: tuple[Change, ...] = ()

    @property
    def share(self) -> float | None:
        """The share of the images, or pixels, with the same most probable class."""
        return None if self.same is None else self.same / max(1, self.images)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "images": self.images,
            "cosine": self.cosine,
            "mean_cosine": self.mean_cosine,
            "same_top1": self.same,
            "mean_probability_shift": self.shift,
            "changes": [change._asdict() for change in self.changes],
        }


def outputs_of(network: Interpreter, images: Array) -> dict[str, Array]:
    """What a network returns for images."""
    parts = [network.run(batch) for batch in batches(images)]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def scores(graph: Graph) -> str | None:
    """The output that holds the scores of classes, of an image or of its pixels; None where there is none."""
    if graph.detector is not None or graph.levels:
        return None
    key = "out" if "out" in graph.outputs else next(iter(graph.outputs))
    shape = graph.shapes()[graph.outputs[key]]
    is_scores = isinstance(shape, Vector | Image) and shape.channels == graph.num_classes
    return key if is_scores and (isinstance(shape, Vector) or shape[1:] != (1, 1)) else None


def compare(graph: Graph, exact: Outputs, held: Outputs, labels: Sequence[str]) -> Agreement:
    """Compare the outputs of a network in float and in int8 on images that go by these labels."""
    cosines = np.array([_cosines(exact[name], held[name]) for name in exact])
    found = Agreement(len(labels), float(cosines.min()), float(cosines.mean()))
    key = scores(graph)
    if key is None:
        return found
    ours, theirs = exact[key], held[key]
    was, now = ours.argmax(1), theirs.argmax(1)
    before, after = _probabilities(ours), _probabilities(theirs)
    top = np.take_along_axis(before, was[:, None], 1)
    shift = float(np.abs(top - np.take_along_axis(after, was[:, None], 1)).mean())
    if was.ndim > 1:
        same = float((was == now).reshape(len(was), -1).mean(1).sum())
        return Agreement(found.images, found.cosine, found.mean_cosine, same, shift)
    changes = tuple(
        Change(labels[int(n)], int(was[n]), int(now[n]), float(before[n, was[n]]), float(after[n, now[n]]))
        for n in np.flatnonzero(was != now)
    )
    return Agreement(found.images, found.cosine, found.mean_cosine, float((was == now).sum()), shift, changes)


def cosine(one: Array, other: Array) -> float:
    """The least cosine between the values of two networks over the images."""
    return float(_cosines(one, other).min())


def _cosines(one: Array, other: Array) -> Array:
    """The cosine of every image's values; 1 where both are nothing but zeros."""
    a, b = (value.reshape(len(value), -1).astype(np.float64) for value in (one, other))
    product = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    equal = (a == b).all(axis=1)
    found: Array = np.where(equal, 1.0, (a * b).sum(1) / np.where(product > 0, product, 1.0))
    return found


def _probabilities(given: Array) -> Array:
    shifted = np.exp(given - given.max(1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(1, keepdims=True)
    return probabilities
