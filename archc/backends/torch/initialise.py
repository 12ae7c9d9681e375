"""Initial weights, by the spec's `init` policy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from archc.backends.torch.emit import module_path
from archc.ir import ops
from archc.ir.graph import Graph
from archc.spec.settings import Init, Initializer


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
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    _fill(layer.weight, policy.conv if isinstance(layer, nn.Conv2d) else policy.linear, groups, generator)
    if layer.bias is None:
        return
    if policy.bias == "zeros":
        nn.init.zeros_(layer.bias)
    else:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def _fill(weight: Tensor, how: Initializer, groups: int, generator: torch.Generator | None) -> None:
    window = weight[0, 0].numel()
    fan_out = weight.shape[0] * window
    match how:
        case "kaiming_normal_fan_out":
            nn.init.normal_(weight, 0.0, math.sqrt(2 / fan_out), generator=generator)
        case "kaiming_normal_fan_out_grouped":
            nn.init.normal_(weight, 0.0, math.sqrt(2 / (fan_out // groups)), generator=generator)
        case "kaiming_uniform_fan_in":
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        case "lecun_uniform":
            nn.init.kaiming_uniform_(weight, a=1, generator=generator)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weight, generator=generator)
        case "uniform_fan_out":
            bound = 1 / math.sqrt(fan_out // groups)
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        case ("normal", float(std)):
            nn.init.normal_(weight, 0.0, std, generator=generator)
        case ("trunc_normal", float(std)):
            nn.init.trunc_normal_(weight, std=std, generator=generator)
        case _:
            raise AssertionError(f"no initialiser {how!r}")
