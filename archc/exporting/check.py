"""An exported file beside its network: both run on the same images, and the largest difference is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.backends import builder
from archc.backends.protocol import Form, raw
from archc.document.diagnostics import fail
from archc.exporting.boxes import LEAST, Detector, Tally, match
from archc.exporting.network import Network
from archc.extras import MissingExtraError
from archc.ir.graph import Graph
from archc.ir.ops import Input
from archc.ir.state import Array
from archc.runtimes import open_file, runtime_of
from archc.runtimes.protocol import CannotRunError, filled

if TYPE_CHECKING:
    from archc.prediction.sources import Images

RANDOM = 2
"""Images of random numbers in every check."""

ALLOWED: Mapping[str, float] = {"f32": 1e-3, "f16": 5e-2}
"""The largest relative difference by precision that is still rounding. int8 is judged by `archc quantize`."""


@dataclass(frozen=True)
class Comparison:
    """How far a file's outputs are from the network's in torch.

    `differences` are the largest by output, relative to the output's largest number. `images` counts the real images.
    For a file that returns boxes, `boxes` says how many are the same, and the difference is that of their scores.
    """

    runtime: str
    images: int
    differences: Mapping[str, float]
    boxes: Tally | None = None

    @property
    def worst(self) -> float:
        """The largest difference of all outputs."""
        return max(self.differences.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found = {"runtime": self.runtime, "images": self.images, "relative_difference": dict(self.differences)}
        return found if self.boxes is None else {**found, "boxes": self.boxes.to_dict()}


def compare_or_reason(
    network: Network, written: Graph, file: Path, form: Form, images: Images | None
) -> tuple[Comparison | None, str]:
    """Compare a file with its network; or the reason why that is not possible here.

    Args:
        network: as it was trained, before any transform of the export.
        written: the graph in the file.
        file: the exported file.
        form: its form.
        images: as in `archc.predict`; None for random numbers only.

    Raises:
        SpecError: `export-differs`.
        PredictionError: images that cannot be used.
    """
    try:
        runs = compare_boxes if form.boxes else compare
        return runs(network, written, file, form, images), ""
    except (MissingExtraError, CannotRunError) as error:
        return None, str(error)


def compare(network: Network, written: Graph, file: Path, form: Form, images: Images | None) -> Comparison:
    """Run a file and its network in torch on the same images; see `compare_or_reason`.

    Raises:
        MissingExtraError: torch, or the file's runtime, is not installed.
        CannotRunError: this system cannot run such files.
    """
    runtime = runtime_of(file)
    assert runtime is not None
    session = open_file(file)
    graph = raw(network.graph)
    import torch

    module = builder("torch").build(graph, state={key: network.state[key] for key, _ in graph.tensors()}).eval()
    worst: dict[str, float] = {}
    real = 0
    for pixels, own in _batches(written, form, images):
        found = session.run(pixels)
        with torch.inference_mode():
            reference = module(torch.from_numpy(_as_trained(graph, pixels)))
        named = {next(iter(graph.outputs)): reference} if graph.single else reference
        for name, value in named.items():
            worst[name] = max(worst.get(name, 0.0), difference(found[name], value.numpy()))
        real += own
    comparison = Comparison(runtime, real, worst)
    limit = ALLOWED.get(form.precision)
    if limit is not None and not comparison.worst <= limit:
        name = max(worst, key=worst.__getitem__)
        message = f"{runtime} computes `{name}` with a relative error of {worst[name]:.1e}; rounding allows {limit:g}"
        raise fail("export-differs", message)
    return comparison


def compare_boxes(network: Network, written: Graph, file: Path, form: Form, images: Images | None) -> Comparison:
    """Run a detector's file that returns boxes beside torchvision's detector; see `compare_or_reason`.

    Raises:
        MissingExtraError: torch, or the file's runtime, is not installed.
        CannotRunError: this system cannot run such files.
    """
    runtime = runtime_of(file)
    assert runtime is not None
    session, detector = open_file(file), Detector.of(network)
    total, real = Tally(), 0
    for pixels, own in _batches(written, form, images):
        total += match(
            session.run(pixels), detector(_as_trained(network.graph, pixels)), ALLOWED.get(form.precision, 1)
        )
        real += own
    if form.precision == "f32" and total.share < LEAST:
        message = f"{runtime} finds {total.matched} of torch's {total.boxes} boxes; rounding allows for {LEAST:.0%}"
        raise fail("export-differs", message)
    return Comparison(runtime, real, {"scores": total.score_difference}, total)


def _batches(graph: Graph, form: Form, images: Images | None) -> Iterator[tuple[Array, int]]:
    """Batches of images as the file takes them, and how many of them are real images, each counted once."""
    import numpy as np

    random = np.random.default_rng(0)
    shape = (form.batch or RANDOM, *graph.input.shape)
    if graph.input.op == Input("uint8"):
        yield random.integers(0, 256, shape, dtype=np.uint8), 0
    else:
        yield random.standard_normal(shape, dtype=np.float32), 0
    if images is not None:
        from archc.prediction.inputs import prepared

        yield from filled(prepared(graph, images), form.batch or 1)


def _as_trained(graph: Graph, images: Array) -> Array:
    """Images as the network takes them; pixels are normalised first."""
    import numpy as np

    given = graph.preprocessing
    if images.dtype != np.uint8 or graph.input.op == Input("uint8") or given is None:
        return images
    from archc.prediction.normalisation import normalised

    return normalised(given, images)


def difference(ours: Array, theirs: Array) -> float:
    """The largest difference, relative to the reference's largest number; nan where a number is not finite."""
    import numpy as np

    scale = float(np.abs(theirs).max()) or 1.0
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max()) / scale
