"""Classification: from pictures to the most probable classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from archc.ir.graph import Graph
from archc.ir.ops import Vector, show
from archc.spec.diagnostics import Diagnostic
from archc.spec.schema import Spec
from archc.spec.settings import Input
from archc.tasks.errors import ImageError, TaskError
from archc.tasks.images import Preparation
from archc.tasks.stream import read_ahead

_Item = TypeVar("_Item")

BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and how probable it is; `name` is None where classes have numbers only."""

    index: int
    name: str | None
    probability: float


class Classified(NamedTuple):
    """A picture with its most probable classes, the best first; or with the reason why it was skipped."""

    image: Path
    predictions: tuple[Prediction, ...]
    error: ImageError | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image` and `predictions`, or `image` and `error`."""
        if self.error is not None:
            return {"image": str(self.image), "error": self.error.diagnostic.message}
        return {"image": str(self.image), "predictions": [asdict(prediction) for prediction in self.predictions]}


def class_count(spec: Spec, graph: Graph) -> int:
    """How many classes the network tells apart.

    Raises:
        TaskError: it returns several values, a feature map, or a vector of features rather than classes.
    """
    if not graph.single:
        names = ", ".join(f"`{name}`" for name in graph.outputs)
        raise _no_classifier(spec, f"`{spec.name}` returns a mapping of outputs ({names}), not one vector of classes")
    (output,) = graph.outputs.values()
    shape = graph.shapes()[output]
    if not isinstance(shape, Vector):
        raise _no_classifier(spec, f"`{spec.name}` returns {show(shape)}, not a vector of classes")
    if spec.outputs is not None and shape.channels != spec.num_classes:  # a layer before the classes, most likely
        features = f"{shape.channels:,} numbers at `{output}`, but `num_classes` is {spec.num_classes:,}"
        raise _no_classifier(spec, f"`{spec.name}` returns features: {features}")
    return shape.channels


def _no_classifier(spec: Spec, message: str) -> TaskError:
    help = "`outputs` chooses what is returned; leave it out to get the classes" if spec.outputs is not None else ""
    return TaskError(Diagnostic("not-a-classifier", message, spec.span("outputs") if help else None, help=help))


class Classifier:
    """A built network with what it takes to classify pictures: the input contract and the classes' names.

    The network is moved to the device and put in evaluation mode.
    """

    def __init__(
        self,
        network: nn.Module,
        contract: Input,
        names: Sequence[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network = network.to(device).eval()
        self.prepare = Preparation(contract)
        self.names = names
        self.device = torch.device(device)

    def classify(
        self, images: Iterable[Path], top: int | None = 5, batch_size: int = BATCH_SIZE
    ) -> Iterator[Classified]:
        """Classify pictures in order; those that cannot be used are skipped, each with its reason.

        Two batches are in memory at most, however many pictures there are. `top=None` gives every class.
        """
        for batch in _batches(read_ahead(self._read, images, batch_size), batch_size):
            pixels = [prepared for _, prepared in batch if isinstance(prepared, torch.Tensor)]
            rows = iter(self.probabilities(torch.stack(pixels)) if pixels else ())
            for path, prepared in batch:
                if isinstance(prepared, ImageError):
                    yield Classified(path, (), prepared)
                else:
                    yield self._ranked(path, next(rows), top)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """The probability of every class, for a batch of prepared pictures."""
        with torch.inference_mode():
            logits: torch.Tensor = self.network(images.to(self.device))
            return logits.float().softmax(dim=1).cpu()

    def _read(self, path: Path) -> tuple[Path, torch.Tensor | ImageError]:
        try:
            return path, self.prepare(path)
        except ImageError as error:
            return path, error

    def _ranked(self, path: Path, probabilities: torch.Tensor, top: int | None) -> Classified:
        if not probabilities.isfinite().all():
            message = f"`{path}` gives numbers that are not finite: the weights hold nan, inf or far too large values"
            return Classified(path, (), ImageError(Diagnostic("not-finite", message)))
        count = min(top or len(probabilities), len(probabilities))
        values, indices = (found.tolist() for found in probabilities.topk(count))
        names = self.names
        ranked = zip(indices, values, strict=True)
        return Classified(path, tuple(Prediction(i, names[i] if names else None, p) for i, p in ranked))


def _batches(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while batch := list(islice(items, size)):
        yield batch
