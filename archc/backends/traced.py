"""A network of torch's as an `ExportedProgram`: what the targets that go through `torch.export` start from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from archc.backends.protocol import INPUT
from archc.ir.graph import Graph
from archc.ir.ops import Input

EXAMPLE_BATCH = 2
"""Images in the example that is traced. torch.export takes a 1 for a constant."""


class Named(nn.Module):
    """A network whose input is called `image`, and whose results are a mapping of 32-bit floats by name."""

    def __init__(self, network: nn.Module, graph: Graph, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.names = tuple(graph.outputs)
        self.single = graph.single

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """[B, C, H, W], floats or pixels, to the network's outputs."""
        found = self.network(image.to(self.dtype) if image.is_floating_point() else image)
        named: Mapping[str, Tensor] = {self.names[0]: found} if self.single else found
        return {name: value.float() for name, value in named.items()}


def example(graph: Graph, batch: int) -> Tensor:
    """Images of the graph's size and type; all zeros."""
    pixels = graph.input.op == Input("uint8")
    return torch.zeros(batch, *graph.input.shape, dtype=torch.uint8 if pixels else torch.float32)


def trace(
    network: nn.Module,
    graph: Graph,
    *,
    dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    most: int | None = None,
    any_size: bool = False,
) -> ExportedProgram:
    """Export a network in evaluation mode.

    Args:
        network: the module of the graph.
        graph: what it computes.
        dtype: the type of its weights.
        batch: images at a time; None leaves that open.
        most: the largest batch, where it is open; None sets no bound.
        any_size: leave the height and the width open, too.
    """
    module = Named(network, graph, dtype).eval()
    shapes: dict[int, object] = {}
    if batch is None:
        shapes[0] = Dim("batch", min=1, max=most)
    if any_size:
        # torch finds the bounds itself: a feature map must not shrink to a single pixel.
        shapes |= {2: Dim.AUTO, 3: Dim.AUTO}
    images = example(graph, batch or most or EXAMPLE_BATCH)
    with torch.no_grad(), quiet():
        return torch.export.export(module, (images,), dynamic_shapes={INPUT: shapes or None}, strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings and log messages to themselves; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
