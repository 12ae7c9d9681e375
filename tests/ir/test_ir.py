"""The IR's own rules: shapes, the verifier, the printer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import archc
from archc.backends.torch.layers import layer
from archc.ir import Builder, Graph, InvalidGraphError, Node, Op, ShapeError, ops, verify, verify_subgraph
from archc.ir.graph import Region, Subgraph
from archc.ir.ops import infer
from archc.ir.printer import text
from tests.language.helpers import BUNDLED

IMAGE = ops.Image(6, 11, 14)

RULES: list[tuple[Op, list[ops.Shape]]] = [
    (ops.Conv(4, (3, 3), 2), [IMAGE]),
    (ops.Conv(4, (5, 3), 3, 2, 2, True, "same"), [IMAGE]),
    (ops.Conv(6, (4, 4), 2, groups=6, padding="valid"), [IMAGE]),
    (ops.Linear(7), [ops.Vector(6)]),
    (ops.BatchNorm(1e-5, 0.1), [IMAGE]),
    (ops.Activation("silu"), [IMAGE]),
    (ops.Pool("max", (3, 3), 2), [IMAGE]),
    (ops.Pool("avg", (2, 3), 2, "same", False), [IMAGE]),
    (ops.GlobalPool(), [IMAGE]),
    (ops.Flatten(), [IMAGE]),
    (ops.Dropout(0.5), [IMAGE]),
    (ops.DropPath(0.5), [IMAGE]),
    (ops.Resize(), [IMAGE, ops.Image(2, 7, 20)]),
    (ops.Resize("nearest"), [IMAGE, ops.Image(2, 7, 20)]),
    (ops.ResizeToMultiple((2, 4)), [IMAGE]),
]


@pytest.mark.parametrize(("op", "inputs"), RULES, ids=lambda value: value.kind if isinstance(value, Op) else "")
def test_shape_and_weight_rules_are_torchs(op: Op, inputs: list[ops.Shape]) -> None:
    module = layer(op, inputs, {})
    output = module(*(torch.zeros(2, *shape) for shape in inputs))
    assert tuple(output.shape) == (2, *op.infer(*inputs))
    owned = {name: tuple(value.shape) for name, value in module.state_dict().items() if value.ndim}
    assert {weight.name: weight.shape for weight in op.weights(*inputs)} == owned


def all_operations() -> set[type[Op]]:
    return {kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, Op)} - {Op, ops.Input}


def test_kinds_are_distinct() -> None:
    kinds = [kind.kind for kind in all_operations()]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    ("op", "inputs", "fact"),
    [
        (ops.Conv(4, groups=4), [IMAGE], "4 groups do not divide 6 input"),
        (ops.Conv(4, (5, 5), padding="valid"), [ops.Image(1, 3, 9)], "5-wide window does not fit into 3 pixels"),
        (ops.Conv(4), [ops.Vector(3)], "needs an image"),
        (ops.Linear(4), [IMAGE], "needs a vector or tokens, not an image"),
        (ops.Add(), [IMAGE, ops.Image(6, 11, 13)], "cannot add 6×11×14 and 6×11×13"),
        (ops.Gate(), [IMAGE, ops.Image(5, 1, 1)], "cannot gate"),
        (ops.Concat(), [IMAGE, ops.Image(1, 1, 1)], "cannot concatenate"),
        (ops.Unfold((2, 2)), [IMAGE], "2×2 patches do not tile 11×14"),
        (ops.Attention(4), [ops.Tokens(4, 9, 30)], "4 heads do not divide 10 channels"),
        (ops.Fold((2, 2)), [ops.Tokens(4, 9, 30), ops.Image(1, 8, 8)], "do not fold"),
    ],
)
def test_what_does_not_fit_is_said_shortly(op: Op, inputs: list[ops.Shape], fact: str) -> None:
    with pytest.raises(ShapeError, match=fact):
        op.infer(*inputs)


def test_unfold_and_fold_are_inverse_and_keep_positions_apart() -> None:
    image = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    unfold, fold = layer(ops.Unfold((2, 3)), [ops.Image(3, 4, 6)], {}), layer(ops.Fold((2, 3)), [], {})
    tokens = unfold(image)
    assert tuple(tokens.shape) == (2 * 6, 4, 3)
    assert torch.equal(fold(tokens, image), image)
    # The first sequence holds the first pixel of each of the four patches.
    assert torch.equal(tokens[0], image[0, :, ::2, ::3].reshape(3, 4).T)


def subgraph() -> Subgraph:
    net = Builder()
    x = net.placeholder(IMAGE)
    with net.scope("group", "Group"):
        y = net.add("conv", ops.Conv(4), x)
    return net.finish(net.add("act", ops.Activation("relu"), y))


def test_a_sound_fragment_passes() -> None:
    assert verify_subgraph(subgraph()).result.name == "act"


def test_the_verifier_names_the_node() -> None:
    good = subgraph()
    conv, act = good.nodes
    broken = [
        (replace(good, nodes=(conv, act, act)), "two nodes are called `act`"),
        (replace(good, nodes=(act, conv)), "`act` uses `group.conv` before it is defined"),
        (replace(good, nodes=(conv._replace(shape=IMAGE), act)), "`group.conv` says"),
        (replace(good, scopes={}), "no label"),
        (replace(good, nodes=(conv, act, conv._replace(name="group.again"))), "re-enters `group`"),
        (replace(good, nodes=(conv._replace(weights=()), act)), "`group.conv` owns other weights"),
        (replace(good, nodes=(conv, act._replace(name="group"))), "both an operation and a scope"),
        (replace(good, result=act._replace(name="nowhere")), "does not exist"),
    ]
    for wrong, message in broken:
        with pytest.raises(InvalidGraphError, match=message):
            verify_subgraph(wrong)


def test_the_verifier_checks_how_regions_join() -> None:
    piece = subgraph()
    source = Node("input", ops.Input(), (), IMAGE)
    region = Region("a", 0, "Block", piece, ("input",))
    graph = Graph("net", source, (region,), {"a": "Stage"}, {"a": "a.0.act"}, True)
    assert verify(graph) is graph
    broken = [
        (replace(graph, regions=(region, region)), "two regions"),
        (replace(graph, regions=(replace(region, inputs=("a.7.act",)),)), "before it is defined"),
        (replace(graph, regions=(region, replace(region, row=1, inputs=("a.0.act",)))), "was lowered for"),
        (replace(graph, outputs={"a": "a.0.nothing"}), "does not exist"),
        (replace(graph, stages={}), "no label"),
        (replace(graph, levels={"0": "a.0.nothing"}), "level `0` is `a.0.nothing`, which does not exist"),
        (replace(graph, regions=(region, replace(region, row=1, shares="b.0"))), "shares the weights of `b.0`"),
    ]
    for wrong, message in broken:
        with pytest.raises(InvalidGraphError, match=message):
            verify(wrong)


def test_the_builder_refuses_a_name_twice() -> None:
    net = Builder()
    x = net.placeholder(IMAGE)
    net.add("conv", ops.Conv(4), x)
    with pytest.raises(ValueError, match="used twice"):
        net.add("conv", ops.Conv(4), x)


def test_the_printer_shows_every_node() -> None:
    spec = archc.load(
        {"name": "net", "input": {"size": 8}, "stages": {"c": [{"block": "conv", "out": 4, "stride": 2}]}}
    )
    assert text(archc.lower(spec)).splitlines() == [
        "graph net",
        "  input    = input()  -> 3×8×8",
        "  c.0.conv = conv(input) {out=4, kernel=3×3, stride=2}  -> 4×4×4",
        "  c.0.norm = batch_norm(c.0.conv) {eps=1e-05, momentum=0.1}  -> 4×4×4",
        "  c.0.act  = activation(c.0.norm) {function=relu}  -> 4×4×4",
        "  return c = c.0.act",
    ]


def test_graphs_share_what_is_the_same() -> None:
    spec = archc.load("mnv3_small")
    once, again = archc.lower(spec), archc.lower(archc.load("mnv3_small"))
    assert all(a.subgraph is b.subgraph for a, b in zip(once.regions, again.regions, strict=True))
    wider = archc.lower(spec.override(width_mult=1.5))
    assert wider.total != once.total
    assert archc.lower(spec.override({"squeeze.ratio": 0.5})).total.params != once.total.params


def test_shapes_of_two_kinds_differ_whatever_their_numbers() -> None:
    image, tokens = ops.Image(16, 32, 32), ops.Tokens(16, 32, 32)
    assert image != tokens
    assert image == ops.Image(16, 32, 32)
    assert image == (16, 32, 32)
    assert len({image, tokens, ops.Image(16, 32, 32)}) == 2
    assert {(ops.Linear(4), (tokens,)): 1}.get((ops.Linear(4), (image,))) is None


SHAPES = [ops.Image(16, 32, 32), ops.Tokens(16, 32, 32), ops.Vector(16)]


@pytest.mark.parametrize("first", SHAPES, ids=repr)
@pytest.mark.parametrize("second", SHAPES, ids=repr)
@pytest.mark.parametrize("op", [op for op, _ in RULES], ids=lambda op: op.kind)
def test_a_rule_answers_by_the_kind_of_its_input(first: ops.Shape, second: ops.Shape, op: Op) -> None:
    """Whatever was inferred before: the second answer is the rule's own."""

    def answer(shape: ops.Shape, rule: Callable[..., Any]) -> object:
        try:
            return rule(shape)
        except (ShapeError, ValueError) as error:
            return str(error)

    answer(first, lambda shape: infer(op, (shape,)))
    expected = answer(second, lambda shape: op.infer(shape))
    found = answer(second, lambda shape: infer(op, (shape,)))
    assert found == expected
    assert type(found) is type(expected)


def test_an_operation_of_another_class_cannot_take_a_kind() -> None:
    with pytest.raises(TypeError, match=r"operation `conv` exists already, as archc\.ir\.ops\.Conv"):

        class Other(Op):
            kind = "conv"

    assert ops.KINDS["conv"] is ops.Conv


def test_every_weight_knows_how_it_starts() -> None:
    graph = archc.lower(archc.load("mobilevit_xxs"))
    initial = {key: weight.initial for key, weight in graph.tensors()}
    assert initial["stem.0.norm.weight"] == ("constant", 1.0)
    assert initial["stem.0.norm.running_var"] == ("constant", 1.0)
    assert initial["stem.0.norm.running_mean"] == ("constant", 0.0)
    # Kaiming normal, fan out: 16 channels of 3×3 windows.
    assert initial["stem.0.conv.weight"] == ("normal", math.sqrt(2 / (16 * 9)))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_json_form_is_complete(name: str) -> None:
    graph = archc.lower(archc.load(name))
    written = json.loads(json.dumps(graph.to_json()))
    read = Graph.from_json(written)
    assert read == graph
    assert read.to_json() == written
    assert text(read) == text(graph)
    assert read.total == graph.total
    assert [(r.source, r.width) for r in read.regions] == [(r.source, r.width) for r in graph.regions]
    assert read.whole == graph.whole
    assert dict(read.tensors()) == dict(graph.tensors())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "onnx"}, "no graph of archc"),
        ({"version": 2}, "version 2 of the format; archc reads 1"),
        ({"regions": 5}, "the graph is damaged"),
        ({"outputs": {"x": "nowhere"}}, "does not hold together: output `x` is `nowhere`"),
        ({"preprocessing": {"size": "large"}}, "the graph's settings are damaged"),
    ],
)
def test_json_that_is_no_graph_is_refused(change: dict[str, Any], message: str) -> None:
    written = archc.lower(archc.load("mnv3_small")).to_json()
    with pytest.raises(ValueError, match=message):
        Graph.from_json({**written, **change})
    node = written["regions"][0]["nodes"][0]
    with pytest.raises(ValueError, match="there is no operation `conv9`"):
        Graph.from_json({**written, "regions": [{**written["regions"][0], "nodes": [{**node, "op": "conv9"}]}]})


def test_the_readable_print_is_short() -> None:
    graph = archc.lower(archc.load("ssdlite320_mnv3_large"))
    lines = str(graph).splitlines()
    assert len(lines) == 2 + len(graph.regions) + len(graph.outputs)
    assert "  c5.0: InvertedResidual(c4.5.add) -> 80×10×10, 375,304 params" in lines
    assert repr(graph) == "<Graph ssdlite320_mobilenet_v3_large: 33 rows, 265 operations>"


def test_heads_on_levels_are_rows_of_the_one_graph() -> None:
    with pytest.warns(archc.SpecWarning):
        graph = archc.lower(archc.load("fasterrcnn_mnv3_large_320_fpn"))
    heads = [region for region in graph.regions if region.level]
    assert [(r.name, r.level, r.shares) for r in heads] == [
        ("rpn.0", "0", ""), ("rpn.1", "1", "rpn.0"), ("rpn.2", "pool", "rpn.0"),
    ]  # fmt: skip
    assert [region.total.params for region in heads] == [609_355, 0, 0]
    assert all(region.total.macs for region in heads)
    keys = [key for key, _ in graph.tensors()]
    assert not [key for key in keys if key.startswith(("rpn.1", "rpn.2"))]
    assert keys[-1] == "roi_heads.deltas.0.linear.bias"
    assert [(call.name, call.on, call.times) for call in graph.calls] == [("roi_heads", "proposals", 150)]


def test_a_row_whose_weights_another_uses_is_kept() -> None:
    """Its own output is not needed, its weights are."""
    spec = {
        "name": "n", "input": {"size": 16},
        "stages": {
            "c": [{"block": "conv", "out": 8}],
            "rpn": [
                {"block": "rpn_head", "anchors": 3, "from": "c"},
                {"block": "rpn_head", "anchors": 3, "from": "c", "shares": 0},
            ],
        },
        "outputs": ["rpn.1.objectness"],
    }  # fmt: skip
    graph = archc.lower(spec)
    assert [region.shares for region in graph.regions] == ["", "", "rpn.0"]
    assert "rpn.0.objectness.weight" in dict(graph.tensors())
