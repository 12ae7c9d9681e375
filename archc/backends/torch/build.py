"""Graph to `nn.Module`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from archc.backends.torch.emit import (
    Scope,
    forward_source,
    is_sequential,
    module_names,
    overwritable,
    scope_tree,
)
from archc.backends.torch.generated import module_class
from archc.backends.torch.initialise import initialise
from archc.backends.torch.layers import Factory, layer
from archc.ir.graph import GRAPH, Graph, Node
from archc.ir.ops import Shape


def build(
    graph: Graph,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build a module, in training mode; its parameters are named as the graph's operations.

    Weights are drawn on the CPU and then moved, so that a seed gives the same ones for every device.
    """
    meta = device is not None and torch.device(device).type == "meta"
    module = assemble(graph, device="meta" if meta else "cpu", dtype=dtype)
    setattr(module, GRAPH, graph)
    if meta:
        return module
    initialise(module, graph, torch.Generator().manual_seed(seed) if seed is not None else None)
    return module if device is None else module.to(device)


def assemble(graph: Graph, *, device: str = "cpu", dtype: torch.dtype | None = None) -> nn.Module:
    """The module of a graph before its weights are set."""
    factory: Factory = {"device": device, "dtype": dtype}
    if graph.detector is None:
        return compiled(graph, factory)
    from archc.backends.torch.detector import detector

    return detector(graph, factory)


def compiled(graph: Graph, factory: Factory, row: str = "") -> nn.Module:
    """The module of a graph without a detector; with `row`, that of this row, which the graph consists of."""
    assembler = _Assembler(graph, factory)
    scope = scope_tree(graph, class_name(graph.name))
    returns = None if graph.single else graph.outputs
    if not row:
        return assembler.root(scope, returns)
    item: Scope | Node = scope
    for name in row.split("."):
        assert isinstance(item, Scope)
        item = item.items[name]
    return assembler.root(item, returns) if isinstance(item, Scope) and returns else assembler.part(item)


def class_name(name: str) -> str:
    """`mobilenet_v3_small` as a class is called: `MobilenetV3Small`."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Net{joined}"


class _Assembler:
    def __init__(self, graph: Graph, factory: Factory) -> None:
        self.graph = graph
        self.factory = factory
        self.shapes = graph.shapes()
        self.spare = overwritable(graph)

    def root(self, scope: Scope, returns: Mapping[str, str] | None) -> nn.Module:
        return self._fill((scope.label, False, forward_source(scope, self.spare, returns)), scope)

    def part(self, item: Scope | Node) -> nn.Module:
        return self._module(item) if isinstance(item, Scope) else self._layer(item)

    def _module(self, scope: Scope) -> nn.Module:
        chain = is_sequential(scope)
        indexed = all(name.isdecimal() for name in scope.items)
        return self._fill((scope.label, chain or indexed, "" if chain else forward_source(scope, self.spare)), scope)

    def _fill(self, recipe: tuple[str, bool, str], scope: Scope) -> nn.Module:
        module = module_class(recipe)()
        for name, item in module_names(scope):
            module.add_module(name, self.part(item))
        return module

    def _layer(self, node: Node) -> nn.Module:
        inputs: Sequence[Shape] = [self.shapes[name] for name in node.inputs]
        return layer(node.op, inputs, self.factory, inplace=node.inputs[0] in self.spare)
