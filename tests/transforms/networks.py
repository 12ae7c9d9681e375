"""Weights for graphs, and what networks compute with them: how a rewritten network is compared with its original."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from archc.backends.torch import BACKEND
from archc.ir import Builder, Graph, Node, Region, Subgraph, ops, verify, verify_subgraph
from archc.ir.state import Array, State
from archc.transforms import apply

IMAGE = ops.Image(6, 12, 9)
"""An input for small networks."""

EXACT = 1e-10
"""The largest difference that rewriting may make in float64, as a share of the largest value."""
CLOSE = 1e-5
"""The same in float32."""


def weights(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Random weights for a graph, in float64. What norms hold is neither one nor zero."""
    random = np.random.default_rng(seed)
    state: dict[str, Array] = {}
    for key, weight in graph.tensors():
        kind = key.rpartition(".")[2]
        if len(weight.shape) > 1:
            value = random.standard_normal(weight.shape) * math.sqrt(2 / math.prod(weight.shape[1:]))
        elif kind in ("weight", "running_var"):
            value = random.uniform(0.5, 1.5, weight.shape)
        else:
            value = random.normal(0, 0.2, weight.shape)
        state[key] = value
    return state


def initial(graph: Graph) -> dict[str, Array]:
    """The weights that `archc.build` returns, but those of norms, frozen or not, as `weights` draws them."""
    drawn, random = BACKEND.read(BACKEND.build(graph, seed=0)), weights(graph)
    norms = tuple(f"{key.rpartition('.')[0]}." for key in random if key.endswith(".running_mean"))
    return {key: (random if key.startswith(norms) else drawn)[key].astype("float32") for key in random}


def module(graph: Graph, state: State) -> nn.Module:
    """The network with these weights, in their type and in evaluation mode."""
    return BACKEND.build(graph, dtype=_dtype(state), state=state).eval()


def _dtype(state: State) -> torch.dtype:
    return torch.from_numpy(next(iter(state.values()))).dtype


def outputs(graph: Graph, state: State, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Everything that a network returns, by name."""
    with torch.inference_mode():
        found = module(graph, state)(image.to(_dtype(state)))
    return dict(found) if isinstance(found, Mapping) else {"": found}


def image(graph: Graph, batch: int = 2, size: tuple[int, int] | None = None) -> torch.Tensor:
    """A random input."""
    channels, *whole = graph.input.shape
    return torch.randn(batch, channels, *(size or whole), generator=torch.Generator().manual_seed(3))


def difference(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> float:
    """The largest difference of any output, as a share of that output's largest value."""
    assert list(ours) == list(theirs)
    worst = 0.0
    for name, value in theirs.items():
        assert ours[name].shape == value.shape
        assert torch.isfinite(value).all()
        assert value.abs().max() > 1e-3
        worst = max(worst, float((ours[name] - value).abs().max() / value.abs().max()))
    return worst


def row(add: Callable[..., Node], *inputs: ops.Shape) -> Subgraph:
    """The subgraph of one row; `add` gets a builder and the inputs' nodes, and returns the result."""
    net = Builder()
    return verify_subgraph(net.finish(add(net, *(net.placeholder(shape) for shape in inputs))))


def graph_of(add: Callable[..., Node], shape: ops.Shape = IMAGE) -> Graph:
    """A network of one row, `a.0`, on an input of this shape."""
    return joined([Region("a", 0, "Block", row(add, shape), ("input",))], shape)


def joined(regions: Sequence[Region], shape: ops.Shape = IMAGE, **outputs: str) -> Graph:
    """A network of these rows; without outputs, it returns what the last one computes."""
    last = regions[-1].full(regions[-1].subgraph.result.name)
    source = Node("input", ops.Input(), (), shape)
    stages = {region.stage: "Stage" for region in regions}
    return verify(Graph("net", source, tuple(regions), stages, outputs or {"out": last}, not outputs))


def norm(net: Builder, x: Node, name: str = "norm", eps: float = 1e-3) -> Node:
    """A batch normalisation."""
    return net.add(name, ops.BatchNorm(eps, 0.1), x)


def kinds(graph: Graph) -> list[str]:
    """The kinds of a network's operations, in execution order."""
    return [node.op.kind for node in graph.nodes[1:]]


def same(before: Graph, names: Sequence[str], *, unchanged: bool = False, batch: int = 2) -> Graph:
    """Apply transforms and check that the network computes the same, and that its structure needs no weights.

    Returns:
        The rewritten graph; it differs from the original unless it is to be `unchanged`.
    """
    state = weights(before)
    kept = {key: value.copy() for key, value in state.items()}
    after, rewritten = apply(before, state, names)
    assert rewritten is not None
    assert all(np.array_equal(state[key], value) for key, value in kept.items()), "a transform is pure"
    assert apply(before, None, names) == (after, None)
    assert Graph.from_json(json.loads(json.dumps(after.to_json()))) == after
    assert after.before is before
    assert after.transforms == tuple(names)
    assert after.total.macs <= before.total.macs
    assert (after.nodes == before.nodes) is unchanged
    if unchanged:
        assert all(rewritten[key] is state[key] for key in state)
    for x in (
        image(before, batch),
        *([image(before, batch, (13, 10))] if isinstance(before.input.shape, ops.Image) else []),
    ):
        assert difference(outputs(after, rewritten, x), outputs(before, state, x)) < EXACT
    return after
