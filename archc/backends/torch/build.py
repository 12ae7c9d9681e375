"""Graph to `nn.Module`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from archc.backends.protocol import check, not_made
from archc.backends.torch.emit import (
    Scope,
    forward_source,
    is_sequential,
    module_names,
    module_path,
    overwritable,
    scope_tree,
)
from archc.backends.torch.generated import Recipe, module_class
from archc.backends.torch.initialise import draw
from archc.backends.torch.layers import EXPRESSIONS, Factory, expression, layer
from archc.backends.torch.parts import Plan
from archc.backends.torch.tensors import differing, write
from archc.ir.graph import GRAPH, Graph, Node
from archc.ir.state import State


def build(
    plan: Plan,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | None = None,
    state: State | None = None,
) -> nn.Module:
    """Build a module, in training mode; its parameters are named as the graph's operations.

    Weights are drawn on the CPU and then moved, so that a seed gives the same ones for every device.

    Raises:
        SpecError: `unsupported-op`: a rule makes a layer with other tensors than its operation states.
        ValueError: a state that does not fit the graph, or one for the meta device, which holds no numbers.
    """
    graph = plan.graph
    meta = device is not None and torch.device(device).type == "meta"
    if state is not None:
        check(state, graph)
        if meta:
            raise ValueError("a module on the meta device has no weights: leave `state` out")
    module = _assemble(plan, {"device": "meta" if meta else "cpu", "dtype": dtype})
    setattr(module, GRAPH, graph)
    tensors = module.state_dict()
    if wrong := differing(tensors, plan):
        raise not_made("torch", graph, wrong)
    if meta:
        return module
    if state is not None:
        write(module, plan, state)
    else:
        draw(tensors, plan, torch.Generator().manual_seed(seed) if seed is not None else None)
    return module if device is None else module.to(device)


def _assemble(plan: Plan, factory: Factory) -> nn.Module:
    """The module before its weights are set."""
    if plan.parts is None:
        return compiled(plan.graph, factory)
    from archc.backends.torch.detector import detector

    return detector(plan.graph, plan.parts, factory)


def compiled(graph: Graph, factory: Factory, row: str = "", **constants: int) -> nn.Module:
    """The module of a graph without a detector.

    With `row`, the graph consists of this one row, and the module is the row's own. `constants` become attributes of
    the module's class.
    """
    assembler = _Assembler(graph, factory)
    item: Scope | Node = scope_tree(graph, class_name(graph.name))
    for name in row.split(".") if row else ():
        assert isinstance(item, Scope)
        item = item.items[name]
    if isinstance(item, Node) or (row and graph.single):
        return assembler.module(item)
    return assembler.outermost(item, None if graph.single else graph.outputs, constants)


def operations(module: nn.Module, graph: Graph) -> dict[str, Callable[..., Tensor]]:
    """What computes each operation of the module of a graph without a detector; see `Builder.operations`."""
    found: dict[str, Callable[..., Tensor]] = {}
    for node in graph.nodes[1:]:
        if type(node.op) in EXPRESSIONS:
            found[node.name] = expression(node.op, len(node.inputs))
        else:
            found[node.name] = module.get_submodule(module_path(graph.owners[node.name]))
    return found


def class_name(name: str) -> str:
    """`mobilenet_v3_small` as a class is called: `MobilenetV3Small`."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Net{joined}"


class _Assembler:
    def __init__(self, graph: Graph, factory: Factory) -> None:
        self.factory = factory
        self.shapes = graph.shapes()
        self.spare = overwritable(graph)

    def outermost(self, scope: Scope, returns: Mapping[str, str] | None, constants: Mapping[str, int]) -> nn.Module:
        """A module whose forward is always written out; it returns these values as a dict."""
        source = forward_source(scope, self.spare, returns)
        return self._filled(Recipe(scope.label, False, source, tuple(constants.items())), scope)

    def module(self, item: Scope | Node) -> nn.Module:
        """The module of a scope, or the layer of an operation."""
        if isinstance(item, Node):
            inputs = [self.shapes[name] for name in item.inputs]
            return layer(item.op, inputs, self.factory, inplace=item.inputs[0] in self.spare)
        if is_sequential(item):
            return self._filled(Recipe(item.label, True), item)
        indexed = all(name.isdecimal() for name in item.items)
        return self._filled(Recipe(item.label, indexed, forward_source(item, self.spare)), item)

    def _filled(self, recipe: Recipe, scope: Scope) -> nn.Module:
        module = module_class(recipe)()
        for name, item in module_names(scope):
            module.add_module(name, self.module(item))
        return module
