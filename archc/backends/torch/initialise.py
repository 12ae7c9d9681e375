"""Initial weights, drawn from the distributions that the graph states."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from archc.backends.torch.parts import Plan, plan
from archc.ir.graph import Graph
from archc.ir.initial import CUT, Distribution


def initialise(module: nn.Module, graph: Graph, generator: torch.Generator | None = None) -> None:
    """Set every parameter and buffer of a module built from this graph, in the graph's order.

    The same generator state gives the same weights. Use it, too, after `to_empty` on a module built on `meta`.
    """
    draw(module.state_dict(), plan(graph), generator)


def draw(tensors: Mapping[str, Tensor], plan: Plan, generator: torch.Generator | None = None) -> None:
    """Set the tensors of a state dict in place."""
    with torch.no_grad():
        for key, weight in plan.weights.items():
            _fill(tensors[plan.names[key]], weight.initial, generator)
        for name, value in tensors.items():
            if name.endswith(".num_batches_tracked"):
                value.zero_()


def _fill(tensor: Tensor, distribution: Distribution, generator: torch.Generator | None) -> None:
    kind, scale = distribution
    if kind == "constant":
        nn.init.constant_(tensor, scale)
    elif kind == "normal":
        nn.init.normal_(tensor, 0.0, scale, generator=generator)
    elif kind == "uniform":
        nn.init.uniform_(tensor, -scale, scale, generator=generator)
    else:
        nn.init.trunc_normal_(tensor, 0.0, scale, -CUT, CUT, generator=generator)
