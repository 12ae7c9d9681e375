"""A trained network made ready for int8: its ranges gathered from images, its weights corrected on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from archc.backends.protocol import raw
from archc.exporting.network import Network
from archc.ir.graph import Graph
from archc.ir.quantization import Quantization
from archc.ir.state import Array, State
from archc.quantization.correct import Rounding, correct
from archc.quantization.observe import observe
from archc.quantization.ranges import Method, quantization_of
from archc.quantization.values import leaving, planned

INFERENCE, EQUALISE = "inference", "equalise"

DEFAULT: Method = "minmax"
"""The method for ranges that changed probabilities least in the measurements of `tests/benchmarks/quantization.py`."""

ROUNDING: Rounding = "grouped"
"""The kernels that are rounded by their inputs. Few numbers in each, so that few images tell enough about them."""

NUMBERS = 2**28
"""How many numbers of one value the correction holds in memory; it uses as many images as that allows."""


@dataclass(frozen=True)
class Calibrated:
    """A network with its ranges. `state` holds corrected biases, `quantization` everything that int8 needs.

    `images` is the number of images that the ranges come from, without their mirror images.
    """

    graph: Graph
    state: State
    quantization: Quantization
    method: Method
    images: int


def ready(network: Network, *, equalise: bool = False) -> Network:
    """The network as it is quantised: without what only training needs; with `equalise`, its channels equalised."""
    done = network.graph.transforms
    wanted = (INFERENCE, EQUALISE) if equalise else (INFERENCE,)
    return network.rewritten([name for name in wanted if name not in done])


def plain(graph: Graph, state: State) -> tuple[Graph, State]:
    """The part of a network that is held in int8: not a detector's heads on proposals."""
    inner = raw(graph)
    keys = [key for key, _ in inner.tensors()]
    return inner, {key: state[key] for key in keys}


def calibrate(
    network: Network,
    images: Array,
    *,
    method: Method = DEFAULT,
    rounding: Rounding = ROUNDING,
    floats: Collection[str] = (),
    corrects: bool = True,
    mirrors: bool = True,
) -> Calibrated:
    """Gather ranges from images and from their mirror images, and correct the weights on them.

    Args:
        network: what `ready` returned.
        images: the network's input, [images, channels, height, width].
        method: how ranges are chosen.
        floats: operations to leave in float, besides those that have no integer form.
        rounding: which kernels are rounded by their layer's inputs; see `correct`.
        corrects: whether biases and kernels are corrected.
        mirrors: whether the mirror image of every image is used too, left and right swapped. It shows more of how large
            values become, and takes twice the time. Turn it off for images that never occur mirrored, such as text.
    """
    images = mirrored(images) if mirrors else images
    graph, state = plain(network.graph, network.state)
    held, known = planned(graph)
    observed = observe(graph, state, images, held)
    quantization = leaving(graph, quantization_of(graph, state, observed, known, method), floats)
    count = len(images) // 2 if mirrors else len(images)
    calibrated = Calibrated(network.graph, network.state, quantization, method, count)
    return corrected(calibrated, images, rounding) if corrects else calibrated


def mirrored(images: Array) -> Array:
    """Images, [images, channels, height, width], and then the mirror image of each, left and right swapped."""
    both: Array = np.concatenate([images, images[..., ::-1]])
    return both


def corrected(calibrated: Calibrated, images: Array, rounding: Rounding = ROUNDING) -> Calibrated:
    """The same with its biases and kernels corrected on exactly these images."""
    graph, state = plain(calibrated.graph, calibrated.state)
    new, quantization = correct(graph, state, calibrated.quantization, _few(graph, images), rounding=rounding)
    return replace(calibrated, state={**calibrated.state, **new}, quantization=quantization)


def _few(graph: Graph, images: Array) -> Array:
    """As many of the images as fit in memory with all their values, from the whole set."""
    largest = max(int(np.prod(shape)) for shape in graph.shapes().values())
    wanted = max(1, min(len(images), NUMBERS // largest))
    chosen: Array = images[np.linspace(0, len(images) - 1, wanted).round().astype(int)]
    return chosen
