"""The registry, what `apply` records and refuses, and the toolkit for transforms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import archc
from archc.document.diagnostics import SpecError
from archc.ir import Builder, Graph, InvalidGraphError, Node, ops
from archc.ir.state import State
from archc.transforms import TRANSFORMS, Rewriter, apply, register, rewrite
from archc.transforms.rewrite import Result
from tests.transforms.networks import IMAGE, graph_of, image, joined, kinds, norm, outputs, row, same, weights


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    known = dict(TRANSFORMS)
    yield
    TRANSFORMS.clear()
    TRANSFORMS.update(known)


def plain() -> Graph:
    def add(net: Builder, x: Node) -> Node:
        y = norm(net, net.add("conv", ops.Conv(4, (3, 3)), x))
        return net.add("drop", ops.Dropout(0.1), net.add("act", ops.Activation("hardswish"), y))

    return graph_of(add)


def sharper(graph: Graph, state: State | None) -> Result:
    """ReLU in place of hardswish."""

    def edit(net: Rewriter) -> None:
        for node in net:
            if node.op == ops.Activation("hardswish"):
                net.replace(node.name, ops.Activation("relu"))

    return rewrite(graph, state, edit)


def test_transforms_are_recorded_with_the_graph_they_started_from() -> None:
    before = replace(plain(), whole=plain().regions)
    once, state = apply(before, weights(before), ["fold_norms"])
    twice, _ = apply(once, state, ["drop_training_ops"])
    assert (once.transforms, once.before, once.whole) == (("fold_norms",), before, ())
    assert (twice.transforms, twice.before) == (("fold_norms", "drop_training_ops"), before)
    assert apply(before, None, ["fold_norms", "drop_training_ops"]) == (twice, None)
    assert str(twice).startswith("graph net (fold_norms, drop_training_ops)")
    assert apply(before, None, []) == (before, None)


@pytest.mark.parametrize(("name", "hint"), [("fold_norm", "did you mean `fold_norms`?"), ("x", "one of: `drop_tr")])
def test_an_unknown_name_is_an_error_before_anything_runs(name: str, hint: str) -> None:
    with pytest.raises(SpecError) as error:
        apply(plain(), None, ["fold_norms", name])
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.id, diagnostic.message) == ("unknown-transform", f"there is no transform `{name}`")
    assert diagnostic.help.startswith(hint)


def test_users_register_their_own() -> None:
    register("sharper", sharper)
    register("sharper", sharper)  # a notebook's cell, run again
    assert kinds(apply(plain(), None, ["sharper"])[0]) == ["conv", "batch_norm", "activation", "dropout"]
    assert apply(plain(), None, ["sharper"])[0].nodes[3].op == ops.Activation("relu")
    with pytest.raises(ValueError, match=r"transform `fold_norms` exists already, as archc\.transforms\.fold_norms"):
        register("fold_norms", sharper)
    for name in ("", "a,b", " a"):
        with pytest.raises(ValueError, match="is no name for a transform"):
            register(name, sharper)


def test_installed_packages_bring_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sharpening.py").write_text("def sharpest(graph, state):\n    return graph, state\n")
    package = tmp_path / "sharpening-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: sharpening\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[archc.transforms]\nsharpest = sharpening:sharpest\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert apply(plain(), None, ["sharpest"])[0].transforms == ("sharpest",)
    with pytest.raises(SpecError, match="did you mean `sharpest`"):
        apply(plain(), None, ["sharpes"])


def test_weights_that_do_not_fit_are_refused() -> None:
    graph = plain()
    state = weights(graph)
    other = {key: value for key, value in state.items() if key != "a.0.conv.weight"}
    with pytest.raises(ValueError, match=r"do not fit `net`: `a.0.conv.weight` is missing; `a.0.other` is no weight"):
        apply(graph, {**other, "a.0.other": state["a.0.norm.bias"]}, ["fold_norms"])


def wrong_weights(graph: Graph, state: State | None) -> Result:
    return graph, {key: value[:1] for key, value in (state or {}).items()}


def wrong_shape(graph: Graph, state: State | None) -> Result:
    (region,) = graph.regions
    conv, *rest = region.subgraph.nodes
    nodes = (conv._replace(op=replace(conv.op, out=5)), *rest)
    return replace(graph, regions=(replace(region, subgraph=replace(region.subgraph, nodes=nodes)),)), state


def wrong_output(graph: Graph, state: State | None) -> Result:
    return replace(graph, outputs={"out": "a.0.nothing"}), state


@pytest.mark.parametrize(("transform", "fault"), [
    (wrong_weights, "the weights after `mine` do not fit: `a.0.conv.weight` is"),
    (wrong_shape, "`conv` says"),
    (wrong_output, "output `out` is `a.0.nothing`, which does not exist"),
])  # fmt: skip
def test_a_faulty_transform_is_found(transform: object, fault: str) -> None:
    register("mine", transform)  # type: ignore[arg-type]
    with pytest.raises(InvalidGraphError, match=fault):
        apply(plain(), weights(plain()), ["mine"])


def test_structure_needs_no_numpy() -> None:
    program = """
import sys
import archc, archc.transforms
graph = archc.lower(archc.load("mnv3_small"))
graph, state = archc.transforms.apply(graph, None, ["inference"])
assert state is None and len(graph.nodes) == 123
print(sorted({"numpy", "torch", "keras"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_is_built_starts_as_the_original_does() -> None:
    """The same seed gives the same outputs, from a spec and transforms as from a rewritten graph."""
    spec = archc.load("mnv3_small")
    graph = apply(archc.lower(spec), None, ["inference"])[0]
    x = image(graph, 1, (64, 64))
    original = archc.build(spec, seed=3).eval()(x)
    for built in (archc.build(spec, seed=3, transforms=["inference"]), archc.build(graph, seed=3)):
        assert built.archc_graph == graph
        assert (built.eval()(x) - original).abs().max() <= 1e-5 * original.abs().max()
    bare = archc.build(graph, device="meta")
    assert sum(parameter.numel() for parameter in bare.parameters()) == graph.total.params


def test_nodes_can_be_inserted_and_shapes_follow() -> None:
    """Hardswish written out, and a wider convolution: the rows behind it are lowered anew."""

    def edit(net: Rewriter) -> None:
        for node in net:
            if node.op == ops.Activation("hardswish"):
                prefix = node.name.removesuffix("act")
                net.insert(f"{prefix}inner", ops.Activation("relu6"), *node.inputs, before=node.name)
                net.replace(node.name, ops.Add(), (*node.inputs, f"{prefix}inner"))
            if isinstance(node.op, ops.Conv):
                net.replace(node.name, replace(node.op, out=8))
                if net.state is not None:
                    net.set_weights(node.name, {"weight": np.ones((8, 6, 3, 3))})
            if isinstance(node.op, ops.BatchNorm) and net.state is not None:
                net.set_weights(node.name, {name: np.ones(8) for name in net.weights(node.name)})

    register("wider", lambda graph, state: rewrite(graph, state, edit))
    first = plain().regions[0]
    relu = row(lambda net, x: net.add(None, ops.Activation("relu"), x), ops.Image(4, IMAGE.height, IMAGE.width))
    second = replace(first, stage="b", subgraph=relu, inputs=("a.0.drop",))
    before = joined([first, second])
    after, state = apply(before, weights(before), ["wider"])
    assert kinds(after) == ["conv", "batch_norm", "activation", "add", "dropout", "activation"]
    assert after.nodes[4].inputs == ("a.0.norm", "a.0.inner")
    assert after.region["b.0"].subgraph.placeholders[0].shape == ops.Image(8, 12, 9)
    assert after.region["b.0"].subgraph.result.shape == ops.Image(8, 12, 9)
    assert state is not None
    assert outputs(after, state, image(after))[""].shape == (2, 8, 12, 9)
    net = Rewriter(before)
    for name in ("a.0.act", "b.0.new"):
        with pytest.raises(ValueError, match="the name is taken, or of another row"):
            net.insert(name, ops.Activation("relu"), "a.0.conv", before="a.0.act")


def test_a_state_keeps_the_counters_of_norms_that_stay() -> None:
    def add(net: Builder, x: Node) -> Node:
        y = norm(net, net.add("conv", ops.Conv(6), x), "folded")
        return norm(net, net.add("act", ops.Activation("relu"), y), "kept")

    graph = graph_of(add)
    counters = {f"a.0.{name}.num_batches_tracked": np.array(5) for name in ("folded", "kept")}
    state = apply(graph, {**weights(graph), **counters}, ["inference"])[1]
    assert state is not None
    assert [key for key in state if "tracked" in key] == ["a.0.kept.num_batches_tracked"]


def test_applying_twice_changes_nothing_more() -> None:
    graph = archc.lower(archc.load("mobilevit_xxs"))
    once, state = apply(graph, weights(graph), ["inference"])
    twice, again = apply(once, state, ["inference"])
    assert twice.regions == once.regions
    assert state is not None
    assert again is not None
    assert list(again) == list(state)
    assert all(again[key] is state[key] for key in state)
    same(plain(), ["fold_norms", "fold_norms"])
