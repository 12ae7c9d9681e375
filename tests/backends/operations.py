"""A small network around every operation, and the rules that every operation needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from archc.backends import builder
from archc.document.diagnostics import SpecError
from archc.ir import Builder, Graph, Node, ops, verify, verify_subgraph
from archc.ir.graph import Region
from archc.ir.initial import Distribution, constant
from archc.ir.state import State

IMAGE = ops.Image(6, 8, 12)

Make = Callable[[Builder, Node], Node]
"""Adds an operation to a network for an image, and returns it."""


def _one(op: ops.Op) -> Make:
    return lambda net, x: net.add("op", op, x)


def _with(other: ops.Op, op: ops.Op) -> Make:
    """An operation on an image and on what another gives of it."""
    return lambda net, x: net.add("op", op, x, net.add("other", other, x))


def _after(other: ops.Op, op: ops.Op) -> Make:
    return lambda net, x: net.add("op", op, net.add("other", other, x))


def _folded(net: Builder, x: Node) -> Node:
    return net.add("op", ops.Fold((2, 3)), net.add("other", ops.Unfold((2, 3)), x), x)


def _attention(net: Builder, x: Node) -> Node:
    tokens = net.add("other", ops.Unfold((2, 3)), x)
    return net.add("op", ops.Attention(2), net.add("joined", ops.Linear(24), tokens))


SAMPLES: Mapping[str, Make] = {
    "conv": _one(ops.Conv(8, (3, 3), 2, groups=2, bias=True)),
    "linear": _after(ops.Flatten(), ops.Linear(7)),
    "batch_norm": _one(ops.BatchNorm(1e-3, 0.1)),
    "layer_norm": _after(ops.Unfold((2, 3)), ops.LayerNorm(1e-5)),
    "activation": _one(ops.Activation("silu")),
    "add": _with(ops.Activation("relu"), ops.Add()),
    "gate": _with(ops.GlobalPool(), ops.Gate()),
    "concat": _with(ops.Activation("relu"), ops.Concat()),
    "normalize": _one(ops.Normalize((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (0.5, 0.25, 2.0, 1.0, 3.0, 0.125), reverse=True)),
    "pool": _one(ops.Pool("max", (3, 3), 2)),
    "global_pool": _one(ops.GlobalPool()),
    "flatten": _one(ops.Flatten()),
    "dropout": _one(ops.Dropout(0.5)),
    "drop_path": _one(ops.DropPath(0.5)),
    "resize": _with(ops.Pool("max", (3, 3), 2), ops.Resize()),
    "resize_to_multiple": _one(ops.ResizeToMultiple((5, 7))),
    "unfold": _one(ops.Unfold((2, 3))),
    "fold": _folded,
    "attention": _attention,
}


def network(make: Make) -> Graph:
    """The graph of one row with an operation, called `op` in it."""
    net = Builder()
    x = net.placeholder(IMAGE)
    subgraph = verify_subgraph(net.finish(make(net, x)))
    region = Region("a", 0, "Sample", subgraph, ("input",))
    source = Node("input", ops.Input(), (), IMAGE)
    return verify(Graph("sample", source, (region,), {"a": "Stage"}, {"a": "a.0.op"}, True))


def _starting(graph: Graph, start: Callable[[int], Distribution]) -> Graph:
    """The graph, its weights starting from other distributions."""
    (region,) = graph.regions
    nodes = tuple(
        node._replace(weights=tuple(one._replace(initial=start(i)) for i, one in enumerate(node.weights)))
        for node in region.subgraph.nodes
    )
    result = next(node for node in nodes if node.name == region.subgraph.result.name)
    return replace(graph, regions=(replace(region, subgraph=replace(region.subgraph, nodes=nodes, result=result)),))


def _numbers(graph: Graph) -> State:
    """Numbers for every weight that no default would give; variances are positive."""
    rng = np.random.default_rng(0)
    return {key: rng.uniform(0.5, 1.5, weight.shape).astype(np.float32) for key, weight in graph.tensors()}


def _output(name: str, graph: Graph, state: State) -> Any:
    """What a backend computes in evaluation mode, as torch has it."""
    image = np.random.default_rng(1).standard_normal((2, *IMAGE)).astype(np.float32)
    model = builder(name).build(graph, state=state)
    if name == "torch":
        with torch.no_grad():
            return model.eval()(torch.from_numpy(image)).numpy()
    found = np.asarray(model.predict_on_batch(image.transpose(0, 2, 3, 1)))
    shape = graph.shapes()["a.0.op"]
    return found.transpose(0, 3, 1, 2) if isinstance(shape, ops.Image) else found


def _runs(name: str) -> Callable[[Graph], bool]:
    """Whether a backend has a rule, and computes what torch computes."""

    def rule(graph: Graph) -> bool:
        state = _numbers(graph)
        expected = _output("torch", graph, state)
        found = _output(name, graph, state).reshape(expected.shape)
        return bool(np.isfinite(found).all() and np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max())

    return rule


def shape(graph: Graph) -> bool:
    """Whether the shape rule is what torch computes."""
    wanted = graph.shapes()["a.0.op"]
    batch = (2 * wanted.positions, *wanted[1:]) if isinstance(wanted, ops.Tokens) else (2, *wanted)
    found: tuple[int, ...] = _output("torch", graph, _numbers(graph)).shape
    return found == batch


def cost(graph: Graph) -> bool:
    """Whether parameters and MACs are torch's own counts."""
    module = builder("torch").build(graph, device="meta").eval()
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *IMAGE, device="meta"))
    params = sum(value.numel() for value in module.parameters())
    buffers = sum(value.numel() for value in module.buffers() if value.ndim)
    total = graph.total
    return (total.params, total.buffers, 2 * total.macs) == (params, buffers, counter.get_total_flops())


def initialise(graph: Graph) -> bool:
    """Whether every backend starts every weight from the distribution that the graph states."""
    constants = _starting(graph, lambda number: constant(0.375 + number))
    drawn = _starting(graph, lambda number: Distribution("uniform", 1e-3))
    for name in BUILDERS:
        backend = builder(name)
        state = backend.read(backend.build(constants, seed=0))
        for key, weight in constants.tensors():
            if key not in state or not (state[key] == np.float32(weight.initial.scale)).all():
                return False
        state = backend.read(backend.build(drawn, seed=0))
        if any(np.abs(state[key]).max() > 1e-3 or len(np.unique(state[key])) < 2 for key, _ in drawn.tensors()):
            return False
    return True


def read(graph: Graph) -> bool:
    """Whether every backend reads back all numbers that a model was built with."""
    state = _numbers(graph)
    for name in BUILDERS:
        backend = builder(name)
        found = backend.read(backend.build(graph, state=state))
        if any(key not in found or not np.array_equal(found[key], value) for key, value in state.items()):
            return False
    return True


def write(graph: Graph) -> bool:
    """Whether every backend writes all numbers into a model that has others, so that it computes with them."""
    state = _numbers(graph)
    for name in BUILDERS:
        backend = builder(name)
        model = backend.build(graph, state={key: value + 1 for key, value in state.items()})
        backend.write(model, state)
        found = backend.read(model)
        if any(not np.array_equal(found[key], value) for key, value in state.items()):
            return False
    return True


BUILDERS = ("torch", "keras")

RULES: Mapping[str, Callable[[Graph], bool]] = {
    "shape": shape,
    "cost": cost,
    "initialise": initialise,
    "read": read,
    "write": write,
    **{name: _runs(name) for name in BUILDERS},
}
"""What every operation needs, by name: whether a network with it has the rule."""


def lacking(make: Make) -> set[str]:
    """The rules that an operation lacks."""
    found = set()
    for name, rule in RULES.items():
        try:
            has = rule(network(make))
        except SpecError as error:
            has = {problem.id for problem in error.diagnostics} != {"unsupported-op"}
        if not has:
            found.add(name)
    return found
