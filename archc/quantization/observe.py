"""What the values of a network look like on images: their smallest and largest numbers, and histograms."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archc.backends.torch.interpret import Interpreter
from archc.ir.graph import Graph, Node
from archc.ir.ops import Tokens
from archc.ir.state import Array, State

BINS = 2048
BATCH = 8
SAMPLES = 2**16
"""The most numbers of one value that go into its histogram for each batch; evenly spread over the value."""


@dataclass(frozen=True)
class Observed:
    """One value on all images: its bounds, and how many numbers fall into each of equally wide bins between them.

    `largest` is the largest magnitude in each channel.
    """

    low: float
    high: float
    counts: Array
    largest: Array

    @property
    def centres(self) -> Array:
        """The middle of every bin."""
        width = (self.high - self.low) / len(self.counts)
        centres: Array = self.low + width * (np.arange(len(self.counts)) + 0.5)
        return centres


def batches(images: Array, size: int = BATCH) -> Iterator[Tensor]:
    """Images in batches of a size that fits the memory."""
    for start in range(0, len(images), size):
        yield torch.from_numpy(images[start : start + size])


def observe(graph: Graph, state: State, images: Array, names: Collection[str]) -> dict[str, Observed]:
    """Look at the values of these names while the network runs on images, in float."""
    network = Interpreter(graph, state)
    bounds: dict[str, tuple[float, float]] = {}
    samples: dict[str, list[Array]] = {name: [] for name in names}
    largest: dict[str, Array] = {}

    def look(node: Node, value: Tensor) -> Tensor:
        if node.name in samples:
            low, high = (float(number) for number in value.aminmax())
            known = bounds.get(node.name, (low, high))
            bounds[node.name] = min(low, known[0]), max(high, known[1])
            samples[node.name].append(_sampled(value))
            axes = [axis for axis in range(value.ndim) if axis != _channels(node)]
            found = value.abs().amax(axes).numpy()
            largest[node.name] = np.maximum(largest.get(node.name, found), found)
        return value

    for batch in batches(images):
        network.run(batch, look)
    return {name: _observed(*bounds[name], np.concatenate(samples[name]), largest[name]) for name in bounds}


def _observed(low: float, high: float, numbers: Array, largest: Array) -> Observed:
    # All numbers equal: NumPy would widen the range. Nearly equal: 32 bits would not tell the bins' edges apart.
    counts = (
        np.histogram(numbers.astype(np.float64), BINS, (low, high))[0]
        if high > low
        else np.eye(1, BINS)[0] * len(numbers)
    )
    return Observed(low, high, counts.astype(np.float64), largest)


def _sampled(value: Tensor) -> Array:
    numbers = value.reshape(-1)
    # An odd step visits all channels and columns.
    step = max(1, numbers.numel() // SAMPLES) | 1
    sampled: Array = numbers[::step].numpy().copy()
    return sampled


def _channels(node: Node) -> int:
    """The axis of a value's channels."""
    return 2 if isinstance(node.shape, Tokens) else 1
