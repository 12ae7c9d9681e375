"""What acts only in training goes."""

from __future__ import annotations

import pytest

import archc
from archc.ir import Builder, Node, Region, ops
from archc.transforms import apply
from tests.transforms.networks import IMAGE, graph_of, joined, kinds, row, same

DROP = ["drop_training_ops"]


def test_dropout_and_stochastic_depth_go() -> None:
    def add(net: Builder, x: Node) -> Node:
        with net.scope("branch", "Branch"):
            y = net.add("drop", ops.Dropout(0.5), net.add("conv", ops.Conv(6), x))
        y = net.add("drop_path", ops.DropPath(0.2), y)
        return net.add("drop", ops.Dropout(0.1, True), net.add("add", ops.Add(), x, y))

    after = same(graph_of(add), DROP)
    assert [node.name for node in after.nodes[1:]] == ["a.0.branch.conv", "a.0.add"]
    assert after.nodes[-1].inputs == ("input", "a.0.branch.conv")
    assert after.outputs == {"out": "a.0.add"}


def test_attention_keeps_all_its_weights_of_attention() -> None:
    def add(net: Builder, x: Node) -> Node:
        joined = net.add("joined", ops.Linear(18), net.add("unfold", ops.Unfold((1, 1)), x))
        return net.add("fold", ops.Fold((1, 1)), net.add("attention", ops.Attention(2, 0.3), joined), x)

    before = graph_of(add)
    after = apply(before, None, DROP)[0]
    assert after.region["a.0"].subgraph.nodes[2].op == ops.Attention(2, 0.0)
    assert kinds(after) == kinds(before)


def one(op: ops.Op) -> object:
    return row(lambda net, x: net.add(None, op, x), IMAGE)


def test_an_empty_row_passes_its_input_on() -> None:
    before = joined(
        [
            Region("a", 0, "Conv", one(ops.Conv(6)), ("input",)),  # type: ignore[arg-type]
            Region("b", 0, "Dropout", one(ops.Dropout(0.5)), ("a.0",)),  # type: ignore[arg-type]
            Region("b", 1, "Dropout", one(ops.Dropout(0.5)), ("b.0",)),  # type: ignore[arg-type]
            Region("c", 0, "Conv", one(ops.Conv(6)), ("b.1",)),  # type: ignore[arg-type]
        ],
        before="b.1",
        after="c.0",
    )
    after = same(before, DROP)
    assert [(region.name, region.inputs) for region in after.regions] == [
        ("a.0", ("input",)),
        ("b.0", ("a.0",)),
        ("b.1", ("a.0",)),
        ("c.0", ("a.0",)),
    ]
    assert [len(region.subgraph.nodes) for region in after.regions] == [1, 0, 0, 1]
    assert after.region["b.1"].subgraph.result.shape == IMAGE
    assert after.outputs == {"before": "a.0", "after": "c.0"}


@pytest.mark.parametrize("name", ["mnv3_small", "efficientnet_lite0", "mobilevit_xxs"])
def test_nothing_of_a_spec_acts_only_in_training(name: str) -> None:
    before = archc.lower(archc.load(name))
    after = apply(before, None, DROP)[0]
    gone = [node for node in before.nodes if isinstance(node.op, ops.Dropout | ops.DropPath)]
    assert gone
    assert len(after.nodes) == len(before.nodes) - len(gone)
    assert not any(isinstance(node.op, ops.Dropout | ops.DropPath) for node in after.nodes)
    assert after.total == before.total
    assert list(after.tensors()) == list(before.tensors())
