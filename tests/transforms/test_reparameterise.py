"""Parallel linear branches as one convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import archc
from archc.blocks.base import channels
from archc.blocks.conv import conv_norm_act
from archc.ir import Builder, Graph, Node, Region, ops
from archc.language.values import Channels, Positive, Stride
from archc.transforms import apply
from tests.backends.torch.peers import shake
from tests.transforms.networks import CLOSE, IMAGE, graph_of, joined, kinds, norm, row, same, weights

MERGE = ["reparameterise"]


class MobileOne(archc.Block):
    """One half of a MobileOne block as it is trained (Vasu et al. 2023, arXiv:2206.04040, figure 3)."""

    out: Channels
    stride: Stride = 1
    kernel_branches: Positive = 2
    groups: Positive = 1

    def lower(self, net: archc.Net, *inputs: Node) -> Node:
        (x,) = inputs
        policy: dict[str, Any] = {"act": "none", "norm": net.norm(None), "stride": self.stride, "groups": self.groups}
        added = [
            conv_norm_act(net, x, self.out, name=f"large{number}", kernel=(3, 3), **policy)
            for number in range(self.kernel_branches)
        ]
        added.append(conv_norm_act(net, x, self.out, name="small", **policy))
        if self.stride == 1 and channels(x) == self.out:
            added.append(net.add("identity", ops.BatchNorm(1e-5, 0.1), x))
        return net.add("act", ops.Activation("relu"), net.add("add", ops.Add(), *added))


def mobile_one(**columns: int) -> archc.Spec:
    archc.REGISTRY.register("test_mobile_one", MobileOne)
    rows = [{"block": "conv", "out": 8}, {"block": "test_mobile_one", **columns}]
    return archc.load({"name": "net", "input": {"size": [10, 13]}, "stages": {"a": rows}})


@pytest.mark.parametrize("columns", [
    {"out": 8},
    {"out": 8, "stride": 2},
    {"out": 8, "groups": 8},
    {"out": 8, "groups": 8, "stride": 2},
    {"out": 8, "groups": 4},
    {"out": 16, "groups": 4, "kernel_branches": 1},
])  # fmt: skip
def test_a_block_of_a_user_is_deployed_as_one_convolution(columns: dict[str, int]) -> None:
    spec = mobile_one(**columns)
    module = shake(archc.build(spec, seed=0)).eval()
    graph, state = apply(archc.lower(spec), archc.backends.get("torch").read(module), ["inference"])
    assert kinds(graph) == ["conv", "activation", "conv", "activation"]
    merged = graph.nodes[3]
    groups, stride = columns.get("groups", 1), columns.get("stride", 1)
    assert merged.name == "a.1.large0.conv"
    assert merged.op == ops.Conv(columns["out"], (3, 3), stride, groups=groups, bias=True)
    assert state is not None
    assert state["a.1.large0.conv.weight"].shape == (columns["out"], 8 // groups, 3, 3)
    assert state["a.1.large0.conv.weight"].dtype == np.float32
    assert graph.total.params == 3 * 8 * 9 + 8 + columns["out"] * (8 // groups * 9 + 1)
    deployed = archc.build(graph, state=state).eval()
    for size in ((10, 13), (9, 8)):
        x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = module(x)
            assert (deployed(x) - expected).abs().max() <= CLOSE * expected.abs().max()
    same(archc.lower(spec), ["inference"])


def summed(*branches: Callable[[Builder, Node], Node]) -> Graph:
    def add(net: Builder, x: Node) -> Node:
        found = []
        for number, branch in enumerate(branches):
            with net.scope(f"branch{number}", "Branch"):
                found.append(branch(net, x))
        return net.add("add", ops.Add(), *found)

    return graph_of(add)


def conv(*args: Any, **kwargs: Any) -> Callable[[Builder, Node], Node]:
    return lambda net, x: net.add("conv", ops.Conv(6, *args, **kwargs), x)


def conv_norm(*args: Any, **kwargs: Any) -> Callable[[Builder, Node], Node]:
    return lambda net, x: norm(net, conv(*args, **kwargs)(net, x))


def itself(net: Builder, x: Node) -> Node:
    return x


ALIKE = [
    pytest.param([conv((3, 3)), conv()], ops.Conv(6, (3, 3)), id="no bias, no norm"),
    pytest.param([conv((3, 3), bias=True), conv()], ops.Conv(6, (3, 3), bias=True), id="one bias"),
    pytest.param([conv(), conv((3, 3)), itself], ops.Conv(6, (3, 3)), id="the largest is not first"),
    pytest.param([conv((3, 3)), itself, norm, itself], ops.Conv(6, (3, 3), bias=True), id="the input three times"),
    pytest.param([conv_norm(), itself], ops.Conv(6, bias=True), id="1×1 and the input"),
    pytest.param([conv((5, 5), groups=3), conv((3, 3), groups=3), conv(groups=3), itself],
                 ops.Conv(6, (5, 5), groups=3), id="three sizes in groups"),
    pytest.param([conv((3, 3)), conv((1, 3)), conv((3, 1))], ops.Conv(6, (3, 3)), id="rows and columns"),
    pytest.param([conv((3, 3), 2), conv((1, 1), 2)], ops.Conv(6, (3, 3), 2), id="stride 2"),
    pytest.param([conv((3, 3), 3), conv((1, 1), 3)], ops.Conv(6, (3, 3), 3), id="stride 3"),
    pytest.param([conv((3, 3), 2, padding="same"), conv((3, 3), 2, padding="same")],
                 ops.Conv(6, (3, 3), 2, padding="same"), id="one size, TensorFlow's padding"),
    pytest.param([conv((3, 3), padding="same"), conv((1, 1), padding="valid"), itself],
                 ops.Conv(6, (3, 3), padding="same"), id="rules of padding that come to the same"),
    pytest.param([conv((2, 2), 2), conv((2, 2), 2)], ops.Conv(6, (2, 2), 2), id="even windows of one size"),
    pytest.param([conv((3, 3), dilation=2), conv((3, 3), dilation=2), conv(), itself],
                 ops.Conv(6, (3, 3), dilation=2), id="one dilation"),
    pytest.param([lambda net, x: norm(net, conv_norm((3, 3))(net, x), "again"), conv()],
                 ops.Conv(6, (3, 3), bias=True), id="two norms"),
]  # fmt: skip


@pytest.mark.parametrize(("branches", "expected"), ALIKE)
def test_branches_merge(branches: list[Callable[[Builder, Node], Node]], expected: ops.Conv) -> None:
    after = same(summed(*branches), MERGE)
    assert [node.op for node in after.nodes[1:]] == [expected]


def activated(net: Builder, x: Node) -> Node:
    return net.add("act", ops.Activation("relu"), conv((3, 3))(net, x))


def dropped(net: Builder, x: Node) -> Node:
    return net.add("drop", ops.DropPath(0.1), conv((3, 3))(net, x))


DIFFERENT = [
    pytest.param([activated, conv()], id="an activation between"),
    pytest.param([dropped, conv()], id="stochastic depth between"),
    pytest.param([conv((3, 3)), conv((3, 3), dilation=2)], id="another dilation"),
    pytest.param([conv((3, 3), 2), conv((3, 3), 2, padding="same")], id="another padding"),
    pytest.param([conv((3, 3), 2, padding="same"), conv((1, 1), 2)], id="a padding that depends on the size"),
    pytest.param([conv((3, 3), groups=2), conv()], id="other groups"),
    pytest.param([conv((3, 1)), conv((1, 3))], id="neither window encloses the other"),
    pytest.param([itself, norm], id="no convolution"),
    pytest.param([conv((4, 4), padding="same"), conv()], id="an even window has no middle"),
    pytest.param([conv((4, 4), padding="same"), itself], id="nor has it one for the input"),
    pytest.param([lambda net, x: conv((3, 3))(net, norm(net, x)), conv()], id="a norm before the convolution"),
    pytest.param([lambda net, x: net.add("pool", ops.Pool("avg", (3, 3), 1), conv()(net, x)), itself], id="a pool"),
]  # fmt: skip


@pytest.mark.parametrize("branches", DIFFERENT)
def test_branches_that_differ_stay(branches: list[Callable[[Builder, Node], Node]]) -> None:
    same(summed(*branches), MERGE, unchanged=True)


def test_a_channel_more_or_fewer_is_no_identity() -> None:
    """The input has 6 channels as the sum has, but one pixel in four."""

    def add(net: Builder, x: Node) -> Node:
        small = net.add("pool", ops.Pool("max", (1, 1), 2), x)
        return net.add("add", ops.Add(), net.add("conv", ops.Conv(6, (3, 3), 2), x), small)

    same(graph_of(add), MERGE, unchanged=True)


def test_a_branch_that_is_read_elsewhere_stays() -> None:
    def add(net: Builder, x: Node) -> Node:
        y = net.add("conv", ops.Conv(6, (3, 3)), x)
        total = net.add("add", ops.Add(), y, net.add("small", ops.Conv(6), x))
        return net.add("concat", ops.Concat(), total, y)

    same(graph_of(add), MERGE, unchanged=True)

    def twice(net: Builder, x: Node) -> Node:
        y = net.add("conv", ops.Conv(6, (3, 3)), x)
        return net.add("add", ops.Add(), y, y, x)

    same(graph_of(twice), MERGE, unchanged=True)
    graph = summed(conv((3, 3)), conv())
    same(joined(graph.regions, total="a.0.add", branch="a.0.branch0.conv"), MERGE, unchanged=True)


def test_what_is_of_another_input_is_added_as_before() -> None:
    def add(net: Builder, x: Node) -> Node:
        other = net.add("act", ops.Activation("relu"), x)
        large, small = net.add("large", ops.Conv(6, (3, 3)), x), norm(net, net.add("small", ops.Conv(6), x))
        return net.add("add", ops.Add(), other, small, large)

    after = same(graph_of(add), MERGE)
    assert kinds(after) == ["activation", "conv", "add"]
    assert after.nodes[-1].inputs == ("a.0.large", "a.0.act")


def test_sums_of_sums_are_one_sum() -> None:
    def add(net: Builder, x: Node) -> Node:
        inner = net.add("inner", ops.Add(), x, norm(net, x))  # without a convolution, nothing merges here
        return net.add("outer", ops.Add(), inner, net.add("conv", ops.Conv(6, (3, 3)), x))

    assert kinds(same(graph_of(add), MERGE)) == ["conv"]


def rep_vit(net: Builder, x: Node) -> Node:
    """RepViT's token mixer (Wang et al. 2024, arXiv:2307.09283, figure 3): branches and a norm, plus the input."""
    large = norm(net, net.add("large", ops.Conv(6, (3, 3), groups=6), x))
    total = net.add("add", ops.Add(), large, net.add("small", ops.Conv(6, groups=6, bias=True), x), x)
    return net.add("residual", ops.Add(), norm(net, total, "norm2"), x)


def test_merged_branches_may_be_a_branch_themselves() -> None:
    after = same(graph_of(rep_vit), MERGE)
    assert [(node.name, node.op) for node in after.nodes[1:]] == [
        ("a.0.large", ops.Conv(6, (3, 3), groups=6, bias=True))
    ]


def test_the_norm_behind_a_sum_is_folded_by_inference() -> None:
    def add(net: Builder, x: Node) -> Node:
        large = net.add("drop", ops.DropPath(0.2), norm(net, net.add("large", ops.Conv(6, (3, 3)), x)))
        return norm(net, net.add("add", ops.Add(), large, net.add("small", ops.Conv(6), x)), "last")

    graph = graph_of(add)
    assert kinds(same(graph, ["inference"])) == ["conv"]
    assert kinds(same(graph, ["reparameterise", "fold_norms"])) == ["conv", "drop_path", "conv", "add", "batch_norm"]
    assert same(graph, ["drop_training_ops", "reparameterise", "fold_norms"]).nodes == apply(
        graph, None, ["inference"])[0].nodes  # fmt: skip


def rows(shares: bool, dilation: int = 1) -> Graph:
    """A branched row on two levels; the second may use the first one's weights."""

    def branched(dilation: int) -> Callable[[Builder, Node], Node]:
        def add(net: Builder, x: Node) -> Node:
            large = norm(net, net.add("large", ops.Conv(6, (3, 3), dilation=dilation), x))
            return net.add("add", ops.Add(), large, net.add("small", ops.Conv(6, (3, 3)), x))

        return add

    return joined(
        [
            Region("a", 0, "Pool", row(lambda net, x: net.add(None, ops.Pool("max", (3, 3), 2), x), IMAGE), ("input",)),
            Region("b", 0, "Head", row(branched(1), IMAGE), ("input",)),
            Region("b", 1, "Head", row(branched(dilation), ops.Image(6, 6, 5)), ("a.0",), shares="b.0" * shares),
        ],
        large="b.0.add",
        small="b.1.add",
    )


def test_rows_that_share_weights_are_merged_together() -> None:
    after = same(rows(shares=True), MERGE)
    assert kinds(after) == ["pool", "conv", "conv"]
    assert [key for key, _ in after.tensors()] == ["b.0.large.weight", "b.0.large.bias"]
    other = rows(shares=True, dilation=2)
    assert apply(other, weights(other), MERGE)[0].nodes == other.nodes
    returned = rows(shares=True)
    same(replace(returned, outputs={**returned.outputs, "branch": "b.1.small"}), MERGE, unchanged=True)
    assert kinds(same(rows(shares=False, dilation=2), MERGE)) == ["pool", "conv", "conv", "batch_norm", "conv", "add"]


def test_branches_in_rows_of_their_own_merge() -> None:
    """What is left of the rows passes its input on, or is gone with its value."""

    def one(op: ops.Op) -> Any:
        return row(lambda net, *inputs: net.add(None, op, *inputs), *([IMAGE] * (2 if isinstance(op, ops.Add) else 1)))

    before = joined(
        [
            Region("a", 0, "Conv", one(ops.Conv(6)), ("input",)),
            Region("b", 0, "Conv", one(ops.Conv(6, (3, 3))), ("input",)),
            Region("c", 0, "Add", one(ops.Add()), ("a.0", "b.0")),
            Region("c", 1, "Act", one(ops.Activation("relu")), ("c.0",)),
        ]
    )
    after = same(before, MERGE)
    assert [(region.name, region.inputs) for region in after.regions] == [
        ("b.0", ("input",)),
        ("c.0", ("b.0",)),
        ("c.1", ("b.0",)),
    ]
    assert kinds(after) == ["conv", "activation"]
