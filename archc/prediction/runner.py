"""What every task has in common: pictures are read ahead, run in batches, and given back in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from PIL import Image

from archc.document.diagnostics import Diagnostic
from archc.prediction.errors import ImageError
from archc.prediction.stream import read_ahead


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as the network takes it, channels × height × width; and as it was read, where the task needs it."""

    path: Path
    pixels: torch.Tensor
    picture: Image.Image | None = None


class Result(Protocol):
    """What was found in one picture."""

    @property
    def image(self) -> Path:
        """The picture's file."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image`, and what was found."""


class Skipped(NamedTuple):
    """A picture that cannot be used, with the reason."""

    image: Path
    error: ImageError

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `image` and `error`."""
        return {"image": str(self.image), "error": self.error.diagnostic.message}


_Result_co = TypeVar("_Result_co", bound=Result, covariant=True)


class Runner(Protocol[_Result_co]):
    """A task with its network: how a picture is prepared, and what is found in a batch of them."""

    def prepare(self, path: Path) -> Prepared:
        """Read and prepare one picture; called in threads.

        Raises:
            ImageError: it cannot be used.
        """

    def run(self, batch: Sequence[Prepared]) -> Iterable[_Result_co | Skipped]:
        """The results of prepared pictures of one size, in order."""


def predict(runner: Runner[_Result_co], images: Iterable[Path], batch_size: int) -> Iterator[_Result_co | Skipped]:
    """Run a task on pictures, in their order; those that cannot be used are skipped, each with its reason.

    Only neighbours of one size share a batch. Two batches are in memory at most, however many pictures there are.
    """

    def prepared(path: Path) -> Prepared | Skipped:
        try:
            return runner.prepare(path)
        except ImageError as error:
            return Skipped(path, error)

    batch: list[Prepared] = []
    for item in read_ahead(prepared, images, batch_size):
        full = len(batch) == batch_size
        if batch and (full or isinstance(item, Skipped) or item.pixels.shape != batch[0].pixels.shape):
            yield from runner.run(batch)
            batch = []
        if isinstance(item, Skipped):
            yield item
        else:
            batch.append(item)
    if batch:
        yield from runner.run(batch)


def not_finite(path: Path) -> Skipped:
    """A picture for which the network computes nan or inf."""
    message = f"`{path}` gives numbers that are not finite: the weights hold nan, inf or far too large values"
    return Skipped(path, ImageError(Diagnostic("not-finite", message)))
