"""Initial weights, by the spec's `init` policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archc.backends.torch.emit import module_path
from archc.ir import ops
from archc.ir.graph import Graph
from archc.ir.initial import CUT, Distribution, of_bias, of_weight
from archc.language.settings import Init


def initialise(module: nn.Module, graph: Graph, generator: torch.Generator | None = None) -> None:
    """Set every parameter and buffer of a module built from this graph, in the graph's order.

    The same generator state gives the same weights. Use it, too, after `to_empty` on a module built on `meta`.
    """
    layers = dict(module.named_modules())
    placed = ((region.init or Init(), node) for region in graph.regions for node in region.nodes())
    with torch.no_grad():
        for policy, node in placed:
            if not isinstance(node.op, ops.Conv | ops.Linear | ops.BatchNorm | ops.LayerNorm):
                continue
            target = layers[module_path(node.name)]
            if isinstance(target, nn.Conv2d | nn.Linear):
                _weights(target, policy, generator)
            elif isinstance(node.op, ops.BatchNorm):
                # Frozen ones are no `nn.BatchNorm2d`, and all they hold are buffers.
                for name, value in target.state_dict().items():
                    start = {"weight": node.op.scale_init, "running_var": 1.0}
                    nn.init.constant_(value, start.get(name, 0))
            elif isinstance(target, nn.LayerNorm):
                target.reset_parameters()


def _weights(layer: nn.Conv2d | nn.Linear, policy: Init, generator: torch.Generator | None) -> None:
    groups, how = (layer.groups, policy.conv) if isinstance(layer, nn.Conv2d) else (1, policy.linear)
    shape = tuple(layer.weight.shape)
    _fill(layer.weight, of_weight(how, shape, groups), generator)
    if layer.bias is None:
        return
    if policy.bias == "zeros":
        nn.init.zeros_(layer.bias)
    else:
        _fill(layer.bias, of_bias(shape), generator)


def _fill(tensor: Tensor, distribution: Distribution, generator: torch.Generator | None) -> None:
    kind, scale = distribution
    if kind == "normal":
        nn.init.normal_(tensor, 0.0, scale, generator=generator)
    elif kind == "uniform":
        nn.init.uniform_(tensor, -scale, scale, generator=generator)
    else:
        nn.init.trunc_normal_(tensor, 0.0, scale, -CUT, CUT, generator=generator)
