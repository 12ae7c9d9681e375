"""Networks that transforms, or people, have rewritten: their files state what they hold, and load into nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
import torchvision.models as tv
from PIL import Image

import archc
from archc.ir import ops
from archc.ir.graph import SPEC, TRANSFORMS
from archc.transforms.provenance import GRAPH, stated, statement
from archc.weights import read_state, save_state
from archc.weights.error import WeightsWarning
from tests.backends.torch.peers import shake

FOLDED = ["inference"]


def metadata(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="numpy") as file:
        found: dict[str, str] = file.metadata()
    return found


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    torch.manual_seed(0)
    return shake(tv.mobilenet_v3_small()).eval()


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_weights_from_before_are_rewritten_on_the_way(peer: torch.nn.Module, backend: str) -> None:
    model = archc.build("mnv3_small", backend=backend, transforms=FOLDED, seed=0)
    report = archc.load_weights(model, peer.state_dict())
    assert (report.source, report.params, report.transforms) == ("torchvision", 2_542_856, ("inference",))
    assert "rewritten as the network is: inference" in str(report)
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = peer(image)
        if backend == "torch":
            actual = model.eval()(image)
        else:
            actual = torch.from_numpy(model.predict_on_batch(image.permute(0, 2, 3, 1).numpy()))
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_rewritten_networks_file(peer: torch.nn.Module, tmp_path: Path) -> None:
    model = archc.build("mnv3_small", transforms=FOLDED, seed=0)
    archc.load_weights(model, peer.state_dict())
    archc.save_weights(model, tmp_path / "folded.safetensors")
    about = metadata(tmp_path / "folded.safetensors")
    assert about[TRANSFORMS] == "inference"
    assert stated(about) == archc.backends.builder("torch").graph_of(model)
    for source in (tmp_path / "folded.safetensors", model.state_dict()):
        again = archc.build("mnv3_small", transforms=FOLDED, device="meta")
        report = archc.load_weights(again, source)
        assert (report.source, report.transforms) == ("archc", ())
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    for transforms in ([], ["fold_norms"]):
        other = archc.build("mnv3_small", transforms=transforms, seed=0)
        with pytest.raises(archc.WeightsError, match="its transforms are inference, here") as caught:
            archc.load_weights(other, tmp_path / "folded.safetensors")
        assert caught.value.diagnostics[0].id == "weights-transforms"
        assert "transforms=['inference']" in caught.value.diagnostics[0].help


def test_what_a_rewritten_network_cannot_do(peer: torch.nn.Module, tmp_path: Path) -> None:
    model = archc.build("mnv3_small", transforms=FOLDED, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for call in (
        lambda: archc.load_weights(model, peer.state_dict(), partial="head"),
        lambda: archc.copy_weights(archc.build("mnv3_small", seed=0), model, partial="head"),
    ):
        with pytest.raises(archc.WeightsError, match="rewritten as a whole"):
            call()
    with pytest.raises(archc.WeightsError, match="no names for what inference made"):
        archc.save_weights(model, tmp_path / "a.safetensors", "torchvision")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_changes_no_weight_keeps_its_names(tmp_path: Path) -> None:
    model = archc.build("mnv3_small", transforms=["drop_training_ops"], seed=0)
    archc.save_weights(model, tmp_path / "a.safetensors", "torchvision")
    assert archc.load_weights(archc.build("mnv3_small", device="meta"), model.state_dict()).tensors == 244


def test_a_copy_is_rewritten_too(peer: torch.nn.Module, tmp_path: Path) -> None:
    plain = archc.build("mnv3_small", device="meta")
    archc.load_weights(plain, peer.state_dict())
    folded = archc.build("mnv3_small", transforms=FOLDED, seed=1)
    archc.load_weights(folded, peer.state_dict())
    model = archc.build("mnv3_small", backend="keras", transforms=FOLDED, seed=0)
    assert archc.copy_weights(plain, model).tensors == 210
    back = archc.build("mnv3_small", transforms=FOLDED, seed=2)
    model.save(tmp_path / "a.keras")
    assert archc.load_weights(back, tmp_path / "a.keras").tensors == 108
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in folded.state_dict().items())
    with pytest.raises(archc.WeightsError, match="tensors differ"):
        archc.copy_weights(back, plain)


@pytest.mark.parametrize("kind", ["safetensors", "keras"])
def test_a_rewritten_networks_file_predicts(peer: torch.nn.Module, tmp_path: Path, kind: str) -> None:
    image = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(image)
    plain = archc.build("mnv3_small", device="meta")
    archc.load_weights(plain, peer.state_dict())
    (expected,) = archc.predict(plain, image)
    model = archc.build("mnv3_small", backend="torch" if kind == "safetensors" else "keras", transforms=FOLDED, seed=0)
    archc.load_weights(model, peer.state_dict())
    path = tmp_path / f"folded.{kind}"
    model.save(path) if kind == "keras" else archc.save_weights(model, path)
    (actual,) = archc.predict(path, image)
    theirs, ours = (answer.to_dict()["predictions"] for answer in (expected, actual))
    assert [one["name"] for one in ours] == [one["name"] for one in theirs]
    assert [one["probability"] for one in ours] == pytest.approx([one["probability"] for one in theirs], abs=1e-5)


def rewritten(spec: str = "mnv3_small") -> archc.Graph:
    """A network whose first activation somebody replaced by another."""
    graph = archc.lower(archc.load(spec))
    stem = graph.regions[0]
    nodes = tuple(
        node._replace(op=ops.Activation("relu")) if isinstance(node.op, ops.Activation) else node
        for node in stem.subgraph.nodes
    )
    subgraph = replace(stem.subgraph, nodes=nodes, result=nodes[-1])
    return replace(graph, regions=(replace(stem, subgraph=subgraph), *graph.regions[1:]))


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_graph_rewritten_by_hand_is_stated_itself(tmp_path: Path, backend: str) -> None:
    graph = rewritten()
    model = archc.build(graph, backend=backend, seed=0)
    archc.save_weights(model, tmp_path / "a.safetensors")
    about = metadata(tmp_path / "a.safetensors")
    assert SPEC not in about
    assert stated(about) == graph
    again = archc.build(stated(about), device="meta")
    assert archc.load_weights(again, tmp_path / "a.safetensors").warnings == ()
    with pytest.warns(WeightsWarning, match=r"`stem\.0` compute otherwise in the network that `a\.safetensors` states"):
        archc.load_weights(archc.build("mnv3_small", device="meta"), tmp_path / "a.safetensors")


def test_a_keras_file_of_a_rewritten_graph_states_it(tmp_path: Path) -> None:
    graph = rewritten()
    archc.build(graph, backend="keras", seed=0).save(tmp_path / "a.keras")
    from archc.weights.carrying.read import metadata as about

    assert stated(about(tmp_path / "a.keras")) == graph
    assert archc.load_weights(archc.build(graph, device="meta"), tmp_path / "a.keras").tensors == 210


@pytest.mark.parametrize("name", ["mnv3_small", "fasterrcnn_mnv3_large_320_fpn", "lraspp_mnv3_large"])
@pytest.mark.filterwarnings("ignore::archc.SpecWarning")
def test_what_a_spec_gives_is_stated_by_it(name: str) -> None:
    graph = archc.lower(archc.load(name))
    for network in (graph, archc.Graph.from_json(json.loads(json.dumps(graph.to_json())))):
        assert set(statement(network)) == {SPEC}
        assert stated(statement(network)) == graph
    assert set(statement(replace(graph, spec=None))) == {GRAPH}


def test_a_damaged_statement() -> None:
    for text in ("{", "[]", "[" * 100_000, "{}"):
        with pytest.raises(ValueError, match="graph"):
            stated({GRAPH: text})


def test_a_state_is_read_and_written_without_a_network(peer: torch.nn.Module, tmp_path: Path) -> None:
    graph = archc.lower(archc.load("mnv3_small"))
    state, report = read_state(peer.state_dict(), graph)
    assert (report.source, report.tensors, len(report.uncounted)) == ("torchvision", 244, 0)
    assert {value.dtype for key, value in state.items() if not key.endswith("tracked")} == {np.dtype("float32")}
    save_state(state, graph, tmp_path / "a.safetensors", "timm")
    model = archc.build(graph, state=state)
    again = archc.build(graph, device="meta")
    archc.load_weights(again, tmp_path / "a.safetensors")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    lacking: dict[str, Any] = {key: value for key, value in state.items() if key != "head.3.linear.bias"}
    with pytest.raises(archc.WeightsError, match=r"`head\.3\.linear\.bias` is missing"):
        save_state(lacking, graph, tmp_path / "b.safetensors")


@pytest.mark.filterwarnings("ignore::archc.SpecWarning")
def test_a_detectors_weights_go_to_keras_and_back(tmp_path: Path) -> None:
    spec = "fasterrcnn_mnv3_large_320_fpn"
    model = archc.build(spec, seed=0)
    network = archc.build(spec, backend="keras", seed=1)
    report = archc.copy_weights(model, network)
    assert len(report.unused) == 8
    assert all(key.startswith("roi_heads.") for key in report.unused)
    assert "8 are of heads that the target lacks" in str(report)
    again = archc.build(spec, seed=2)
    with pytest.raises(archc.WeightsError, match="8 tensors differ"):
        archc.copy_weights(network, again)
    archc.copy_weights(network, again, partial="roi_heads")
    ours, theirs = again.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items() if not name.startswith("roi_heads"))
    archc.save_weights(model, tmp_path / "a.safetensors")
    loaded = archc.load_weights(network, tmp_path / "a.safetensors")
    assert (loaded.tensors, len(loaded.pruned)) == (report.tensors, 8)
    network.save(tmp_path / "a.keras")
    archc.load_weights(again, tmp_path / "a.keras", partial="roi_heads")
