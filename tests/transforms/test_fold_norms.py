"""Batch normalisations in the layers before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archc.ir import Builder, Graph, Node, Region, ops
from archc.transforms import apply
from archc.transforms.arithmetic import kernel_and_bias, normalised
from tests.transforms.networks import IMAGE, graph_of, joined, kinds, norm, row, same, weights


def conv_norm(net: Builder, x: Node) -> Node:
    return norm(net, net.add("conv", ops.Conv(4, (3, 3), 2, groups=2), x))


def test_the_numbers_by_hand() -> None:
    graph = graph_of(lambda net, x: norm(net, net.add("conv", ops.Conv(2), x), eps=0.0), ops.Image(1, 1, 1))
    state = {
        "a.0.conv.weight": np.array([2.0, 3.0], np.float32).reshape(2, 1, 1, 1),
        "a.0.norm.weight": np.array([6.0, 1.0], np.float32),
        "a.0.norm.bias": np.array([1.0, -1.0], np.float32),
        "a.0.norm.running_mean": np.array([5.0, 0.0], np.float32),
        "a.0.norm.running_var": np.array([4.0, 0.25], np.float32),
        "a.0.norm.num_batches_tracked": np.array(7),
    }
    after, folded = apply(graph, state, ["fold_norms"])
    assert folded is not None
    assert {key: value.ravel().tolist() for key, value in folded.items()} == {
        "a.0.conv.weight": [6.0, 6.0],  # 2 · 6 / √4 and 3 · 1 / √0.25
        "a.0.conv.bias": [-14.0, -1.0],  # 1 - 5 · 3 and -1
    }
    assert {value.dtype for value in folded.values()} == {np.dtype(np.float32)}
    assert [node.name for node in after.nodes] == ["input", "a.0.conv"]
    assert after.outputs == {"out": "a.0.conv"}
    assert after.total == ops.Cost(2 + 2, 0, 2)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_a_norm_becomes_part_of_its_convolution(bias: bool, frozen: bool, eps: float) -> None:
    def add(net: Builder, x: Node) -> Node:
        with net.scope("group", "Group"):
            y = net.add("conv", ops.Conv(4, (3, 3), 2, groups=2, bias=bias), x)
            y = net.add("norm", ops.BatchNorm(eps, 0.1, frozen=frozen), y)
        return net.add("act", ops.Activation("relu"), y)

    before = graph_of(add)
    after = same(before, ["fold_norms"])
    assert kinds(after) == ["conv", "activation"]
    conv = after.nodes[1]
    assert (conv.name, conv.op) == ("a.0.group.conv", ops.Conv(4, (3, 3), 2, groups=2, bias=True))
    assert after.total == ops.Cost(4 * 3 * 9 + 4, 0, before.total.macs)
    assert after.regions[0].subgraph.scopes == {"group": "Group"}


def test_norms_in_a_row_are_all_folded() -> None:
    after = same(graph_of(lambda net, x: norm(net, conv_norm(net, x), "again")), ["fold_norms"])
    assert kinds(after) == ["conv"]


def test_a_layers_kernel_may_have_any_number_of_axes() -> None:
    """No norm can follow a linear layer yet, as norms take images; their arithmetic is the same."""
    random = np.random.default_rng(0)
    layer = {"weight": random.standard_normal((4, 3)), "bias": random.standard_normal(4)}
    own = {name: random.uniform(0.5, 1.5, 4) for name in ("weight", "bias", "running_mean", "running_var")}
    kernel, bias = normalised(*kernel_and_bias(layer), ops.BatchNorm(0.1, 0.1), own)
    x = random.standard_normal(3)
    plain = layer["weight"] @ x + layer["bias"]
    expected = (plain - own["running_mean"]) / np.sqrt(own["running_var"] + 0.1) * own["weight"] + own["bias"]
    np.testing.assert_allclose(kernel @ x + bias, expected, rtol=1e-12)


def activated(net: Builder, x: Node) -> Node:
    return norm(net, net.add("act", ops.Activation("relu"), net.add("conv", ops.Conv(6), x)))


def read_twice(net: Builder, x: Node) -> Node:
    y = net.add("conv", ops.Conv(6), x)
    return net.add("add", ops.Add(), norm(net, y), y)


def nothing_before(net: Builder, x: Node) -> Node:
    return net.add("conv", ops.Conv(4), norm(net, x))


@pytest.mark.parametrize("add", [activated, read_twice, nothing_before])
def test_what_cannot_be_folded_stays(add: object) -> None:
    same(graph_of(add), ["fold_norms"], unchanged=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["outputs", "levels"])
def test_a_value_that_is_returned_stays(what: str) -> None:
    graph = graph_of(conv_norm)
    if what == "outputs":
        graph = joined(graph.regions, conv="a.0.conv", norm="a.0.norm")
        same(graph, ["fold_norms"], unchanged=True)
    else:
        levels = {"0": "a.0.conv"}
        graph = Graph("net", graph.input, graph.regions, graph.stages, graph.outputs, True, levels)
        assert apply(graph, None, ["fold_norms"])[0].nodes == graph.nodes


def test_a_norm_in_the_next_row_is_folded_and_outputs_follow() -> None:
    regions = [
        Region("a", 0, "Conv", row(lambda net, x: net.add(None, ops.Conv(4, (3, 3)), x), IMAGE), ("input",)),
        Region("b", 0, "Norm", row(lambda net, x: norm(net, x), ops.Image(4, 12, 9)), ("a.0",)),
        Region("b", 1, "Act", row(lambda net, x: net.add(None, ops.Activation("relu"), x), ops.Image(4, 12, 9)),
               ("b.0.norm",)),
    ]  # fmt: skip
    after = same(joined(regions, plain="b.0.norm", active="b.1"), ["fold_norms"])
    assert kinds(after) == ["conv", "activation"]
    assert after.outputs == {"plain": "a.0", "active": "b.1"}
    passes_on = after.region["b.0"]
    assert (passes_on.inputs, passes_on.subgraph.nodes, passes_on.subgraph.result.name) == (("a.0",), (), "@0")
    assert after.region["b.1"].inputs == ("a.0",)


def shared(second: ops.BatchNorm) -> Graph:
    """One row's weights on two inputs of different sizes."""

    def head(op: ops.BatchNorm) -> object:
        return lambda net, x: net.add("norm", op, net.add("conv", ops.Conv(4), x))

    small = ops.Image(6, 6, 5)
    regions = [
        Region("a", 0, "Pool", row(lambda net, x: net.add(None, ops.Pool("max", (3, 3), 2), x), IMAGE), ("input",)),
        Region("b", 0, "Head", row(head(ops.BatchNorm(1e-3, 0.1)), IMAGE), ("input",)),  # type: ignore[arg-type]
        Region("b", 1, "Head", row(head(second), small), ("a.0",), shares="b.0"),  # type: ignore[arg-type]
    ]
    return joined(regions, large="b.0.norm", small="b.1.norm")


def test_rows_that_share_weights_are_folded_together() -> None:
    before = shared(ops.BatchNorm(1e-3, 0.1))
    after = same(before, ["fold_norms"])
    assert kinds(after) == ["pool", "conv", "conv"]
    assert [key for key, _ in after.tensors()] == ["b.0.conv.weight", "b.0.conv.bias"]
    assert after.region["b.1"].shares == "b.0"
    assert after.total.params == 6 * 4 + 4


def test_shared_weights_stay_unless_all_rows_can_be_folded() -> None:
    other = shared(ops.BatchNorm(1e-2, 0.1))
    assert apply(other, weights(other), ["fold_norms"])[0].nodes == other.nodes
    returned = shared(ops.BatchNorm(1e-3, 0.1))
    same(replace(returned, outputs={**returned.outputs, "conv": "b.1.conv"}), ["fold_norms"], unchanged=True)


def test_a_dead_channel_raises_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    graph = graph_of(lambda net, x: norm(net, net.add("conv", ops.Conv(2), x), eps=0.0))
    state = {**weights(graph), "a.0.norm.running_var": np.array([0.0, 1.0])}
    folded = apply(graph, state, ["fold_norms"])[1]
    assert folded is not None
    assert np.isfinite(folded["a.0.conv.weight"][1]).all()
    assert not np.isfinite(folded["a.0.conv.weight"][0]).any()
    assert not recwarn.list
