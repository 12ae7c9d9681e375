"""`equalise`: the network computes the same, and the channels of kernels have like sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import archc
from archc.backends.protocol import raw
from archc.backends.torch import BACKEND
from archc.backends.torch.interpret import Interpreter
from archc.blocks.lower import lower
from archc.ir.graph import Graph
from archc.ir.ops import BatchNorm
from archc.ir.state import Array
from archc.transforms import apply
from archc.transforms.equalise import channel_groups, equalise, read, written
from archc.transforms.rewrite import Rewriter

SMALL = ["width_mult=0.25", "input.size=64"]


def trained(graph: Graph) -> dict[str, Array]:
    """Weights with channels of very different sizes, and norms that have seen images."""
    random = np.random.default_rng(0)
    state = {}
    for key, value in BACKEND.read(BACKEND.build(graph, seed=0), graph).items():
        if value.dtype != np.float32:
            state[key] = value
        elif key.endswith("running_var"):
            state[key] = random.uniform(0.5, 2, value.shape).astype(np.float32)
        elif value.ndim == 1:
            state[key] = (value + random.uniform(0, 0.5, value.shape)).astype(np.float32)
        else:
            sizes = np.exp(random.normal(0, 1, len(value))).reshape(-1, *[1] * (value.ndim - 1))
            state[key] = (value * sizes / sizes.max()).astype(np.float32)
    return state


def outputs(graph: Graph, state: dict[str, Array], dtype: torch.dtype) -> dict[str, Array]:
    images = torch.randn(2, *graph.input.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return {name: value.numpy() for name, value in Interpreter(graph, state, dtype=dtype).run(images).items()}


@pytest.mark.parametrize("folded", [True, False], ids=["inference", "with norms"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in archc.specs()])
def test_every_bundled_network_computes_the_same(name: str, folded: bool) -> None:
    graph = raw(lower(archc.load(name, ["input.size=64"])))
    state: dict[str, Array] | None = trained(graph)
    if folded:
        graph, state = apply(graph, state, ["inference"])  # type: ignore[assignment]
    assert state is not None
    exact = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in state.items()}
    for dtype, given, allowed in ((torch.float32, state, 1e-5), (torch.float64, exact, 1e-10)):
        new_graph, new = apply(graph, given, ["equalise"])
        assert new is not None
        before, after = outputs(graph, given, dtype), outputs(new_graph, dict(new), dtype)
        for key, value in before.items():
            assert np.abs(after[key] - value).max() <= allowed * np.abs(value).max()


@pytest.mark.parametrize("name", ["mobilenet_v2", "mnv3_small", "resnet50"])
def test_a_small_network_computes_the_same(name: str) -> None:
    graph = lower(archc.load(name, SMALL if name != "resnet50" else ["input.size=32"]))
    graph, state = apply(graph, trained(graph), ["inference"])
    assert state is not None
    exact = {key: value.astype(np.float64) for key, value in state.items()}
    new = equalise(graph, exact)[1]
    assert new is not None
    changed = [key for key in exact if not np.allclose(new[key], exact[key])]
    assert len(changed) >= 6
    before, after = outputs(graph, exact, torch.float64), outputs(graph, dict(new), torch.float64)
    for key, value in before.items():
        assert np.abs(after[key] - value).max() <= 1e-10 * np.abs(value).max()


def test_kernels_before_and_behind_a_value_have_like_sizes() -> None:
    graph = lower(archc.load("mobilenet_v2", SMALL))
    graph, state = apply(graph, trained(graph), ["inference"])
    _, new = equalise(graph, state)
    assert new is not None

    def unevenness(weights: dict[str, Array]) -> float:
        """The largest ratio between what writes a channel and what reads it, over one value's mean ratio."""
        net = Rewriter(graph, weights)
        worst = 0.0
        for group in channel_groups(net):
            if group.writers and group.readers:
                ours = np.max([written(net[n].op, net.weights(n)) for n in group.writers], axis=0)
                theirs = np.max([read(net[n].op, net.weights(n)) for n in group.readers], axis=0)
                ratio = np.log(ours / theirs)
                worst = max(worst, float(np.abs(ratio - ratio.mean()).max()))
        return worst

    assert unevenness(dict(state or {})) > 1
    assert unevenness(dict(new)) < 0.02


def test_values_that_are_not_homogeneous_stay() -> None:
    graph = apply(lower(archc.load("mobilenet_v2", SMALL)), None, ["inference"])[0]
    scaled = {name for group in channel_groups(Rewriter(graph)) if group.writers for name in group.values}
    by_name = {node.name: node for node in graph.nodes}
    assert any(name.endswith("project.conv") for name in scaled)
    assert not any(getattr(by_name[name].op, "function", "") == "relu6" for name in scaled)
    assert graph.input.name not in scaled
    assert scaled.isdisjoint(graph.outputs.values())


def test_residual_values_are_scaled_together() -> None:
    graph = apply(lower(archc.load("mobilenet_v2", SMALL)), None, ["inference"])[0]
    groups = [group for group in channel_groups(Rewriter(graph)) if len(group.writers) > 1]
    assert len(groups) >= 4
    for group in groups:
        assert all(name.endswith("project.conv") for name in group.writers)
        assert all(name.endswith("expand.conv") for name in group.readers)


def test_without_weights_nothing_is_done() -> None:
    graph = lower(archc.load("mobilenet_v2", SMALL))
    assert equalise(graph, None) == (graph, None)
    assert any(isinstance(node.op, BatchNorm) for node in graph.nodes)
