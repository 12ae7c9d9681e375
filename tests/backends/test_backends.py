"""The protocol of backends: each one runs all that the IR can say, and what it lacks is told where it is needed."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import archc
from archc.backends import BACKENDS, Builder, Emitter, Entry, builder, get, of
from archc.backends.protocol import raw
from archc.blocks import REGISTRY, Block, Net
from archc.ir import Graph, Node, Op, ops
from archc.ir.state import State
from archc.language.values import Activation
from tests.backends.operations import BUILDERS


@pytest.fixture(params=BUILDERS)
def backend(request: pytest.FixtureRequest) -> Builder:
    return builder(request.param)


def spec(*rows: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": "small", "input": {"size": 16}, "stages": {"a": list(rows)}, **keys}


SMALL = spec({"block": "conv", "out": 4}, {"block": "conv", "out": 6, "stride": 2})


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


FUNCTIONS = sorted(TypeAdapter(Activation).json_schema()["enum"])


def test_there_are_activations() -> None:
    assert len(FUNCTIONS) > 10
    assert {"relu", "hardswish", "none"} < set(FUNCTIONS)


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "none"])
def test_every_backend_knows_every_activation(backend: Builder, function: str) -> None:
    assert backend.supports(ops.Activation(function))
    assert not backend.supports(ops.Activation("mystery"))


@dataclass(frozen=True)
class Nothing(Op):
    """A scratch operation that no backend has."""

    kind = "scratch_nothing"


class NothingBlock(Block):
    """A row of it."""

    def lower(self, net: Net, *inputs: Node) -> Node:
        return net.add("nothing", Nothing(), *inputs)


@pytest.fixture
def without_rule(tmp_path: Path) -> Any:
    """A spec file whose second row, in line 6, needs an operation that no backend has."""
    path = tmp_path / "odd.yaml"
    path.write_text(
        "name: odd\ninput: {size: 8}\nstages:\n  a:\n    - {block: conv, out: 4}\n    - {block: scratch_nothing}\n",
        encoding="utf-8",
    )
    REGISTRY.register("scratch_nothing", NothingBlock)
    yield path
    del REGISTRY._blocks["scratch_nothing"]


def test_what_a_backend_lacks_is_told_at_its_row(backend: Builder, without_rule: Path) -> None:
    graph = archc.lower(archc.load(without_rule))
    (problem,) = backend.unsupported(graph)
    assert (problem.id, problem.severity) == ("unsupported-op", "error")
    assert problem.message == f"the {backend.name} backend has no `scratch_nothing`, which row `a.1` needs"
    assert problem.span is not None
    assert (problem.span.source.name, problem.span.line) == (str(without_rule), 6)
    with pytest.raises(archc.SpecError, match=r"odd\.yaml:6:.*unsupported-op.*row `a\.1`"):
        archc.build(graph, backend=backend.name)
    forgotten = Graph.from_json(graph.to_json())  # which knows its spec as a text only
    assert [found.span for found in backend.unsupported(forgotten)] == [None]


def test_what_a_head_needs_is_told_at_the_detector(backend: Builder) -> None:
    graph = archc.lower(archc.load("ssdlite320_mnv3_large"))
    odd = graph.regions[-1]
    (act,) = [node for node in odd.subgraph.nodes if node.name == "depthwise.act"]
    nodes = tuple(node._replace(op=ops.Activation("mystery")) if node is act else node for node in odd.subgraph.nodes)
    broken = replace(graph, regions=(*graph.regions[:-1], replace(odd, subgraph=replace(odd.subgraph, nodes=nodes))))
    (problem,) = backend.unsupported(broken)
    assert problem.span == graph.spec.span("detector")  # type: ignore[union-attr]
    assert "row `regression.5`" in problem.message
    assert "mystery" in problem.notes[0]


def test_keras_keeps_no_row_that_feeds_no_output() -> None:
    graph = archc.lower(archc.load(SMALL))
    dead = replace(graph, outputs={"a": "a.0.act"})
    (problem,) = builder("keras").unsupported(dead)
    assert problem.message.startswith("row `a.1` feeds no output")
    assert builder("torch").unsupported(dead) == ()


def test_there_is_no_backend_of_another_name() -> None:
    with pytest.raises(ValueError, match=r"no backend 'tourch': did you mean `torch`\?"):
        archc.build(SMALL, backend="tourch")


def test_importing_the_table_imports_no_library() -> None:
    program = (
        "import sys, archc.backends as b; b.of(object()); "
        "print(sorted({'torch', 'keras', 'numpy'} & set(sys.modules)), list(b.BACKENDS))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['torch', 'keras', 'onnx', 'litert', 'openvino', 'executorch', 'coreml']"


def test_a_users_backend_is_an_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that writes files: it needs neither `build` nor `read`."""
    (tmp_path / "scratch_listing.py").write_text(
        "from archc.backends import Emitter\n"
        "class Listing(Emitter):\n"
        "    name, suffix = 'listing', '.txt'\n"
        "    def supports(self, op):\n"
        "        return op.kind != 'pool'\n"
        "    def emit(self, graph, state, path, **options):\n"
        "        self.require(graph)\n"
        "        lines = [f'{node.name} {node.op.kind}' for node in graph.nodes[1:]]\n"
        "        path.write_text('\\n'.join([*lines, str(len(state))]))\n"
        "BACKEND = Listing()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(BACKENDS, "listing", Entry("scratch_listing", "scratch_listing"))
    listing = get("listing")
    assert isinstance(listing, Emitter)
    model = archc.build(SMALL, seed=0)
    graph = archc.lower(archc.load(SMALL))
    listing.emit(graph, builder("torch").read(model), tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text().splitlines()[-2:] == ["a.1.act activation", "12"]
    pooled = archc.lower(archc.load(spec({"block": "pool", "kind": "max", "kernel": 2})))
    with pytest.raises(archc.SpecError, match="the listing backend has no `pool`"):
        listing.emit(pooled, {}, tmp_path / "list.txt")
    with pytest.raises(ValueError, match="writes files and builds no model"):
        archc.build(SMALL, backend="listing")


def test_a_model_is_known_by_its_backend(backend: Builder) -> None:
    model = archc.build(SMALL, backend=backend.name, seed=0)
    assert of(model) is backend
    assert [builder(name).owns(model) for name in BUILDERS] == [name == backend.name for name in BUILDERS]
    graph = backend.graph_of(model)
    assert graph is not None
    assert graph.name == "small"
    foreign = nn.Conv2d(3, 4, 1) if backend.name == "torch" else keras.Sequential([keras.layers.Dense(3)])
    assert of(foreign) is backend
    assert backend.graph_of(foreign) is None
    with pytest.raises(ValueError, match="was not built by archc"):
        backend.read(foreign)
    assert of("mnv3_small") is None


def test_wrappers_of_torchs_do_not_matter() -> None:
    torchs, model = builder("torch"), archc.build(SMALL, seed=0)
    for wrapped in (torch.compile(model), nn.DataParallel(model), nn.DataParallel(torch.compile(model))):
        assert torchs.unwrap(wrapped) is model
        assert torchs.graph_of(wrapped) is torchs.graph_of(model)
        assert same(torchs.read(wrapped), torchs.read(model))
    other = nn.DataParallel(nn.ReLU())
    assert torchs.unwrap(other) is other


def test_what_is_read_is_a_copy_in_the_graphs_order(backend: Builder) -> None:
    model = archc.build(SMALL, backend=backend.name, seed=0)
    graph = archc.lower(archc.load(SMALL))
    first, second = backend.read(model), backend.read(model)
    shapes = {key: weight.shape for key, weight in graph.tensors()}
    assert {key: value.shape for key, value in first.items() if key in shapes} == shapes
    assert [key for key in first if key in shapes] == list(shapes)
    first["a.0.conv.weight"][:] = 7.0
    assert same(backend.read(model), second)


def test_only_torch_counts_batches() -> None:
    counters = ["a.0.norm.num_batches_tracked", "a.1.norm.num_batches_tracked"]
    module, model = archc.build(SMALL, seed=0), archc.build(SMALL, seed=0, backend="keras")
    module(torch.zeros(2, 3, 16, 16))
    state = builder("torch").read(module)
    assert [key for key in state if "num_batches" in key] == counters
    assert [int(state[key]) for key in counters] == [1, 1]
    builder("keras").write(model, state)
    found = builder("keras").read(model)
    assert not set(counters) & set(found)
    fresh = archc.build(SMALL, state=found)
    assert [int(builder("torch").read(fresh)[key]) for key in counters] == [0, 0]
    assert same(builder("torch").read(archc.build(SMALL, state=state)), state)


@pytest.mark.parametrize("name", ["mobilevit_xxs", "ssdlite320_mnv3_large", "fasterrcnn_mnv3_large_320_fpn"])
def test_a_state_is_the_whole_network(backend: Builder, name: str) -> None:
    """Built from it, written into another, and, with torch, written where nothing was allocated."""
    model = archc.build(name, backend=backend.name, seed=0)
    state = backend.read(model)
    graph = backend.graph_of(model)
    assert graph is not None
    others = [archc.build(graph, backend=backend.name, state=state), archc.build(name, backend=backend.name, seed=1)]
    if backend.name == "torch":
        others.append(archc.build(name, device="meta"))
    assert not same(backend.read(others[1]), state)
    for other in others[1:]:
        backend.write(other, state)
    assert all(same(backend.read(other), state) for other in others)
    assert all(backend.changed(other, graph) == [] for other in others)


def test_a_part_of_a_state_leaves_the_rest(backend: Builder) -> None:
    model = archc.build(SMALL, backend=backend.name, seed=0)
    before = backend.read(model)
    backend.write(model, {"a.1.conv.weight": before["a.1.conv.weight"] + 1})
    after = backend.read(model)
    assert [key for key in before if not np.array_equal(before[key], after[key])] == ["a.1.conv.weight"]
    assert np.array_equal(after["a.1.conv.weight"], before["a.1.conv.weight"] + 1)


def test_a_state_that_does_not_fit_is_refused_before_anything_is_written(backend: Builder) -> None:
    model = archc.build(SMALL, backend=backend.name, seed=0)
    before = backend.read(model)
    good = {"a.0.conv.weight": before["a.0.conv.weight"] + 1}
    for wrong, message in [
        ({"a.0.conv.bias": np.zeros(4, np.float32)}, r"`a\.0\.conv\.bias` is no weight of `small`"),
        ({"a.1.conv.weight": np.zeros((6, 4, 1, 1), np.float32)}, r"`a\.1\.conv\.weight` is \[6, 4, 1, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            backend.write(model, {**good, **wrong})
    assert same(backend.read(model), before)
    weights = {key: value for key, value in before.items() if "num_batches" not in key}
    for state, message in [
        ({**weights, "b": np.zeros(1)}, "`b` is no weight"),
        (dict(list(weights.items())[1:]), r"`a\.0\.conv\.weight` is missing"),
        (good, "and 6 more"),
    ]:
        with pytest.raises(ValueError, match=f"the state does not fit `small`: .*{message}"):
            archc.build(SMALL, backend=backend.name, state=state)


def test_nothing_is_read_from_or_built_on_meta() -> None:
    module = archc.build(SMALL, device="meta")
    with pytest.raises(ValueError, match="no numbers"):
        builder("torch").read(module)
    state = builder("torch").read(archc.build(SMALL, seed=0))
    with pytest.raises(ValueError, match="meta device has no weights"):
        archc.build(SMALL, device="meta", state=state)
    builder("torch").write(module, {"a.0.conv.weight": state["a.0.conv.weight"]})
    assert [name for name, value in module.state_dict().items() if not value.is_meta] == [
        "a.0.conv.weight",
        "a.0.norm.num_batches_tracked",
        "a.1.norm.num_batches_tracked",
    ]


def test_types_stay_the_models(backend: Builder) -> None:
    kind = torch.bfloat16 if backend.name == "torch" else "bfloat16"
    model = archc.build(SMALL, backend=backend.name, seed=0, dtype=kind)
    state = backend.read(model)
    assert {value.dtype for key, value in state.items() if "num_batches" not in key} == {np.dtype("float32")}
    backend.write(model, state)
    types = {str(value.dtype) for value in (model.parameters() if backend.name == "torch" else model.weights)}
    assert types == {str(kind)}
    assert same(backend.read(model), state)


def test_what_was_changed_is_named() -> None:
    torchs = builder("torch")
    graph = archc.lower(archc.load("mnv3_small"))
    keys = [key for key, _ in graph.tensors()]
    below = [key for key in keys if not key.startswith("head.")]
    model = archc.build(graph, seed=0)
    model.head[3] = nn.Linear(1024, 5)
    assert torchs.changed(model, graph) == [
        "head.3.linear.weight", "head.3.linear.bias", "head.3.weight", "head.3.bias",
    ]  # fmt: skip
    assert torchs.changed(model, graph, below) == []
    assert torchs.changed(model, graph, [key for key in keys if not key.startswith("head.3.")]) == []
    assert "head.3.linear.weight" not in torchs.read(model)
    assert len(torchs.read(model)) == len(archc.build(graph).state_dict()) - 2
    with pytest.raises(ValueError, match=r"the module has no `head\.3\.linear\.bias`"):
        torchs.write(model, {"head.3.linear.bias": np.zeros(1000, np.float32)})
    model.stem[0].extra = nn.Linear(2, 2)
    assert torchs.changed(model, graph, below) == ["stem.0.extra.weight", "stem.0.extra.bias"]
    resized = archc.build(archc.load("mnv3_small", ["num_classes=5"]), seed=0)
    assert torchs.changed(resized, graph) == ["head.3.linear.weight", "head.3.linear.bias"]
    keras_model = archc.build(graph, backend="keras", seed=0)
    smaller = keras.Model(keras_model.input, keras_model.get_layer("head_1_act").output)
    assert builder("keras").changed(smaller, graph) == ["head_3_linear/kernel", "head_3_linear/bias"]
    assert builder("keras").changed(smaller, graph, below) == []


def test_transforms_keep_what_the_seed_says(backend: Builder) -> None:
    plain = archc.build("mnv3_small", backend=backend.name, seed=3)
    rewritten = archc.build("mnv3_small", backend=backend.name, seed=3, transforms=["inference"])
    graph = backend.graph_of(rewritten)
    assert graph is not None
    assert graph.transforms == ("inference",)
    assert not any(isinstance(node.op, ops.BatchNorm | ops.Dropout) for node in graph.nodes)
    image = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    expected, found = (evaluated(model, image) for model in (plain, rewritten))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    state = backend.read(plain)
    again = archc.build("mnv3_small", backend=backend.name, state=state, transforms=["inference"])
    assert same(backend.read(again), backend.read(rewritten))
    assert same(backend.read(archc.build(graph, backend=backend.name, state=backend.read(again))), backend.read(again))


def test_a_transformed_graph_that_was_changed_is_built_as_it_is(backend: Builder) -> None:
    graph = backend.graph_of(archc.build("ssdlite320_mnv3_large", backend=backend.name, transforms=["inference"]))
    assert graph is not None
    changed = replace(raw(graph), outputs={f"my_{name}": node for name, node in graph.outputs.items()})
    image = np.random.default_rng(0).standard_normal((1, 96, 96, 3)).astype(np.float32)
    with_one = archc.build(changed, backend=backend.name, seed=0)
    whole = archc.build(raw(graph), backend=backend.name, state=backend.read(with_one))
    one, every = evaluated(with_one, image), evaluated(whole, image)
    assert set(one) == {f"my_{name}" for name in every}
    assert all(np.array_equal(one[f"my_{name}"], value) for name, value in every.items())


def evaluated(model: Any, image: Any) -> Any:
    if isinstance(model, keras.Model):
        return model.predict_on_batch(image)
    with torch.inference_mode():
        found = model.eval()(torch.from_numpy(image).permute(0, 3, 1, 2))
    return {key: value.numpy() for key, value in found.items()} if isinstance(found, dict) else found.numpy()


def test_transforms_of_a_structure_alone() -> None:
    model = archc.build("fasterrcnn_mnv3_large_320_fpn", device="meta", transforms=["inference"])
    assert all(value.is_meta for value in model.state_dict().values())
    assert not any("norm" in name for name in model.state_dict())
    with pytest.raises(archc.SpecError, match=r"no transform `inferenc`.*did you mean `inference`"):
        archc.build(SMALL, transforms=["inferenc"])


@pytest.mark.parametrize("name", ["ssdlite320_mnv3_large", "fasterrcnn_mnv3_large_320_fpn"])
def test_a_detectors_plain_network_has_its_heads_on_levels(backend: Builder, name: str) -> None:
    graph = archc.lower(archc.load(name))
    model = archc.build(raw(graph), backend=backend.name, seed=0)
    assert {key for key in backend.read(model) if "num_batches" not in key} == {
        key for key, _ in graph.tensors() if not key.startswith("roi_heads.")
    }
    if backend.name == "torch":
        assert len(list(model.parameters())) == len(list(copy.deepcopy(model).parameters()))
        with torch.inference_mode():
            found = model.eval()(torch.zeros(1, *graph.input.shape))
        shapes = graph.shapes()
        assert {key: tuple(value.shape[1:]) for key, value in found.items()} == {
            key: tuple(shapes[node]) for key, node in graph.outputs.items()
        }
