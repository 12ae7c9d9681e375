"""Core ML files: what stands in them, and what their programs compute by an interpreter of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import archc
from archc.backends import builder
from archc.backends.protocol import Form, raw
from archc.exporting.network import Network, open_network
from archc.ir import Builder, Graph, Node, ops
from archc.ir.state import Array, State
from archc.runtimes import open_file
from archc.runtimes.protocol import CannotRunError, Port
from tests.backends.operations import SAMPLES, network
from tests.transforms.networks import weights

pytest.importorskip("coremltools")

from archc.backends.coreml import BACKEND
from archc.runtimes.coreml import CoreMLSession
from tests.exporting import mil

CLOSE = 1e-5
"""The largest difference in float32, as a share of the output's largest number."""

Make = Callable[[Builder, Node], Node]


def numbers(graph: Graph) -> dict[str, Array]:
    return {key: value.astype(np.float32) for key, value in weights(graph).items()}


def small(name: str, *overrides: str, transforms: tuple[str, ...] = ("inference",)) -> Network:
    return open_network(name, seed=0, overrides=overrides).rewritten(transforms)


def worst(found: Mapping[str, Array], graph: Graph, state: State, images: Array) -> float:
    """The largest relative difference of any output from torch's."""
    module = builder("torch").build(graph, state=state).eval()
    with torch.inference_mode():
        made = module(torch.from_numpy(images))
    reference = {next(iter(graph.outputs)): made} if graph.single else made
    assert list(found) == list(reference)
    differences = []
    for name, value in reference.items():
        theirs = value.numpy()
        assert found[name].shape == theirs.shape
        differences.append(float(np.abs(found[name] - theirs).max() / np.abs(theirs).max()))
    return max(differences)


def random(graph: Graph, batch: int = 1, size: tuple[int, int] | None = None) -> Array:
    shape = (batch, graph.input.shape[0], *(size or graph.input.shape[1:]))
    if graph.input.op == ops.Input("uint8"):
        return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    return np.random.default_rng(5).standard_normal(shape, dtype=np.float32)


def emitted(graph: Graph, state: State, folder: Path, form: Form | None = None) -> tuple[Any, CoreMLSession]:
    """The program that was written, and the opened file."""
    path = folder / "net.mlpackage"
    BACKEND.emit(graph, state, path, form or Form())
    session = open_file(path)
    assert isinstance(session, CoreMLSession)
    return mil.program(path), session


def ran(graph: Graph, state: State, folder: Path, form: Form | None = None) -> float:
    """How far a written program is from torch."""
    function, session = emitted(graph, state, folder, form)
    images = random(graph, (form or Form()).batch or 1)
    found = mil.run(function, images)
    return worst(dict(zip(session.outputs, found.values(), strict=True)), graph, state, images)


def one(op: ops.Op) -> Make:
    return lambda net, x: net.add("op", op, x)


MORE: Mapping[str, Make] = {
    **{f"activation {name}": one(ops.Activation(name)) for name in ("relu", "relu6", "hardswish", "hardsigmoid")},
    **{f"activation {name}": one(ops.Activation(name)) for name in ("sigmoid", "gelu", "tanh", "elu", "mish")},
    "activation leaky_relu": one(ops.Activation("leaky_relu")),
    "conv same": one(ops.Conv(4, (3, 5), 2, padding="same")),
    "conv same dilated": one(ops.Conv(4, (3, 3), 1, dilation=2, padding="same", bias=True)),
    "conv valid": one(ops.Conv(4, (2, 3), 1, padding="valid")),
    "conv depthwise": one(ops.Conv(12, (5, 3), 2, groups=6)),
    "pool avg": one(ops.Pool("avg", (3, 3), 2)),
    "pool avg without padding": one(ops.Pool("avg", (3, 3), 2, count_padding=False)),
    "pool avg same": one(ops.Pool("avg", (3, 2), 2, "same", count_padding=False)),
    "pool max same": one(ops.Pool("max", (3, 3), 2, "same")),
    "pool max valid": one(ops.Pool("max", (2, 2), 2, "valid")),
    "resize nearest": lambda net, x: net.add(
        "op", ops.Resize("nearest"), net.add("less", ops.Conv(5, (3, 3), 1, padding="valid"), x), x
    ),
    "resize up": lambda net, x: net.add("op", ops.Resize(), net.add("less", ops.Pool("max", (3, 3), 2), x), x),
    "resize down": lambda net, x: net.add("op", ops.Resize(), x, net.add("less", ops.Pool("max", (3, 3), 2), x)),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", sorted({*SAMPLES, *MORE} - {"normalize"}))
def test_every_operation(name: str, batch: int, tmp_path: Path) -> None:
    graph = network({**SAMPLES, **MORE}[name])
    assert ran(graph, numbers(graph), tmp_path, Form(batch=batch)) < CLOSE


NETWORKS: Mapping[str, tuple[str, ...]] = {
    "mnv3_small": ("input.size=64", "width_mult=0.25"),
    "mobilevit_xxs": ("input.size=72",),
    "efficientnet_lite0": ("input.size=63", "width_mult=0.25", "depth_mult=0.25"),
    "lraspp_mnv3_large": ("input.size=64", "width_mult=0.25"),
    "ssdlite_mobilevit_s": ("input.size=64",),
    "fasterrcnn_mnv3_large_320_fpn": ("input.size=64", "width_mult=0.25"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks(name: str, tmp_path: Path) -> None:
    opened = small(name, *NETWORKS[name])
    graph = raw(opened.graph)
    state = {key: opened.state[key] for key, _ in graph.tensors()}
    assert ran(graph, state, tmp_path) < CLOSE


def test_the_weights_in_the_file_are_the_states(tmp_path: Path) -> None:
    opened = small("mnv3_small", "input.size=64", "width_mult=0.25")
    state = numbers(opened.graph)
    function, _ = emitted(opened.graph, state, tmp_path)
    written = mil.constants(function)
    for key, value in state.items():
        assert np.array_equal(written[key.replace(".", "_")], value), key
    kinds = [op.op_type for op in function.operations]
    convolutions = sum(isinstance(node.op, ops.Conv) for node in opened.graph.nodes)
    assert kinds.count("conv") == convolutions
    assert "batch_norm" not in kinds


def test_a_tensor_goes_in(tmp_path: Path) -> None:
    opened = small("mnv3_small", "input.size=[64,96]", "width_mult=0.25")
    form = Form(metadata={"archc_version": "1.2", "archc_classes": '["a"]'})
    _, session = emitted(opened.graph, opened.state, tmp_path, form)
    described = session.spec.description
    (source,), (result,) = described.input, described.output
    assert source.type.WhichOneof("Type") == "multiArrayType"
    assert list(source.type.multiArrayType.shape) == [1, 3, 64, 96]
    assert session.input == Port("image", (None, 3, 64, 96), "float32")
    assert (result.name, session.outputs) == ("head", ("head",))
    assert list(result.type.multiArrayType.shape) == [1, 1000]
    assert session.spec.specificationVersion == 7, "iOS 16"
    assert described.metadata.shortDescription == "mobilenet_v3_small, compiled by archc 1.2"
    assert (described.metadata.author, described.metadata.versionString) == ("archc 1.2", "1.2")
    assert form.metadata.items() <= session.metadata.items()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_an_image_goes_in(order: str, tmp_path: Path) -> None:
    settings = ("input.size=64", "width_mult=0.25", f"input.channel_order={order}")
    opened = small("mnv3_small", *settings, transforms=("inference", "preprocess"))
    function, session = emitted(opened.graph, opened.state, tmp_path)
    kind = session.spec.description.input[0].type
    assert kind.WhichOneof("Type") == "imageType"
    assert (kind.imageType.width, kind.imageType.height) == (64, 64)
    assert kind.imageType.ColorSpace.Name(kind.imageType.colorSpace) == "RGB"
    assert session.input == Port("image", (None, 3, 64, 64), "uint8")
    images = random(opened.graph)
    assert worst(mil.run(function, images), opened.graph, opened.state, images) < CLOSE


def test_pixels_that_no_convolution_scales(tmp_path: Path) -> None:
    op = ops.Normalize((1.0, 2.0, 3.0), (0.5, 0.25, 2.0), reverse=True)
    graph = network(lambda net, x: net.add("op", ops.Activation("tanh"), x))
    graph = _pixels(graph, op)
    function, _ = emitted(graph, {}, tmp_path)
    images = random(graph)
    expected = (images[:, ::-1] - np.reshape(op.mean, (1, 3, 1, 1))) * np.reshape(op.scale, (1, 3, 1, 1))
    assert np.allclose(mil.run(function, images)["a"], expected, atol=1e-5)


def _pixels(graph: Graph, op: ops.Normalize) -> Graph:
    net = Builder()
    image = ops.Image(len(op.mean), 8, 12)
    x = net.placeholder(image)
    (region,) = graph.regions
    region = replace(region, subgraph=net.finish(net.add("op", op, x)))
    return replace(graph, input=graph.input._replace(op=ops.Input("uint8"), shape=image), regions=(region,))


def test_any_size(tmp_path: Path) -> None:
    opened = small("mnv3_small", "input.size=64", "width_mult=0.25")
    function, session = emitted(opened.graph, opened.state, tmp_path, Form(any_size=True))
    assert session.input == Port("image", (None, 3, None, None), "float32")
    sizes = session.spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges
    assert [(size.lowerBound, size.upperBound) for size in sizes] == [(1, 1), (3, 3), (1, 512), (1, 512)]
    for size in ((64, 64), (97, 161), (33, 1)):
        images = random(opened.graph, 1, size)
        assert worst(mil.run(function, images), opened.graph, opened.state, images) < CLOSE


def test_any_size_with_uneven_padding(tmp_path: Path) -> None:
    opened = small("efficientnet_lite0", "input.size=64", "width_mult=0.25", "depth_mult=0.25", "padding=same")
    function, _ = emitted(opened.graph, opened.state, tmp_path, Form(any_size=True))
    for size in ((64, 64), (97, 160)):
        images = random(opened.graph, 1, size)
        assert worst(mil.run(function, images), opened.graph, opened.state, images) < CLOSE


def test_16_bits(tmp_path: Path) -> None:
    opened = small("mnv3_small", "input.size=64", "width_mult=0.25")
    state = numbers(opened.graph)
    function, session = emitted(opened.graph, state, tmp_path, Form("f16"))
    assert session.input.dtype == "float32"
    written = mil.constants(function)
    for key, value in state.items():
        assert np.array_equal(written[f"{key.replace('.', '_')}_to_fp16"], value.astype(np.float16)), key
    images = random(opened.graph)
    assert 1e-6 < worst(mil.run(function, images), opened.graph, state, images) < 2e-2


def test_a_weight_that_16_bits_cannot_hold(tmp_path: Path) -> None:
    opened = small("mnv3_small", "input.size=64", "width_mult=0.25")
    key = next(key for key in opened.state if key.endswith(".weight"))
    state = {**opened.state, key: opened.state[key] + np.float32(1e5)}
    with pytest.raises(archc.SpecError, match=f"`{key}` holds 1e\\+05, which does not fit 16 bits"):
        BACKEND.emit(opened.graph, state, tmp_path / "x.mlpackage", Form("f16"))


def test_names_that_are_no_identifiers(tmp_path: Path) -> None:
    graph = network(SAMPLES["conv"])
    (node,) = graph.outputs.values()
    graph = replace(graph, outputs={"0": node, "image": node, "a.b": graph.input.name}, single=False)
    function, session = emitted(graph, numbers(graph), tmp_path)
    assert session.outputs == ("0", "image", "a.b")
    assert [output.name for output in session.spec.description.output] == ["_0", "image_", "a_b"]
    assert json.loads(session.metadata["archc_outputs"]) == {"_0": "0", "image_": "image", "a_b": "a.b"}
    images = random(graph)
    found = mil.run(function, images)
    assert np.array_equal(found["a_b"], images)
    assert np.array_equal(found["_0"], found["image_"])


def test_exporting_says_that_nothing_was_run(tmp_path: Path) -> None:
    path = tmp_path / "net.mlpackage"
    settings: dict[str, Any] = {"seed": 0, "overrides": ["input.size=64", "width_mult=0.25"]}
    exported = archc.export("mnv3_small", path, **settings)
    if sys.platform == "darwin":
        assert exported.checked is not None
        assert exported.checked.worst < 1e-3
        return
    assert exported.checked is None
    assert "runs on Apple's systems only" in exported.unchecked
    assert exported.form.any_size is False, "a fixed size is what the Neural Engine runs"
    assert exported.size > 1e5
    with pytest.raises(FileExistsError):
        archc.export("mnv3_small", path, **settings)
    archc.export("mnv3_small", path, **settings, preprocess=True, overwrite=True)
    session = open_file(path)
    assert session.input.dtype == "uint8"
    with pytest.raises(CannotRunError):
        session.run(np.zeros((2, 3, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="takes uint8 images of any×3×64×64, not float32 ones of 1×3×64×64"):
        session.run(np.zeros((1, 3, 64, 64), np.float32))
    assert list(tmp_path.iterdir()) == [path]


def test_forms_that_core_ml_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "x.mlpackage"
    opened = small("mnv3_small", "input.size=64", "width_mult=0.25", transforms=("inference", "preprocess"))
    with pytest.raises(archc.SpecError, match="takes one image, not 2"):
        BACKEND.emit(opened.graph, opened.state, path, Form(batch=2))
    with pytest.raises(archc.SpecError, match=r"no `.mlpackage` in int8"):
        BACKEND.emit(opened.graph, opened.state, path, Form("int8"))
    with pytest.raises(archc.SpecError, match="no boxes"):
        BACKEND.emit(opened.graph, opened.state, path, Form(boxes=True))
    six = _pixels(network(SAMPLES["normalize"]), ops.Normalize((1.0,) * 6, (1.0,) * 6))
    with pytest.raises(archc.SpecError, match="3 channels, or 1 in grey, not 6"):
        BACKEND.emit(six, {}, path)
    vit = small("mobilevit_xxs", "input.size=64")
    assert not BACKEND.any_size(vit.graph)
    with pytest.raises(archc.SpecError, match="images of one size only"):
        BACKEND.emit(vit.graph, vit.state, path, Form(any_size=True))
    assert not path.exists()


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "x.mlpackage"
    path.mkdir()
    with pytest.raises(ValueError, match=r"is damaged, or no `.mlpackage`"):
        open_file(path)
    graph = network(SAMPLES["conv"])
    whole = tmp_path / "net.mlpackage"
    BACKEND.emit(graph, numbers(graph), whole)
    (whole / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(b"\x00nothing")
    with pytest.raises(ValueError, match=r"is damaged, or no `.mlpackage`"):
        open_file(whole)
    file = tmp_path / "file.mlpackage"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="is no directory"):
        open_file(file)


@pytest.mark.slow
def test_torch_is_not_needed_and_nothing_is_said(tmp_path: Path) -> None:
    graph = network(SAMPLES["conv"])
    np.savez(tmp_path / "state.npz", **numbers(graph))
    (tmp_path / "graph.json").write_text(json.dumps(graph.to_json()))
    code = (
        "import sys, json, numpy as np; sys.modules.update(torch=None, transformers=None)\n"
        "from pathlib import Path; from archc.backends import emitter; from archc.ir import Graph\n"
        "graph = Graph.from_json(json.loads(Path('graph.json').read_text()))\n"
        "emitter('coreml').emit(graph, dict(np.load('state.npz')), Path('net.mlpackage'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "net.mlpackage" / "Manifest.json").is_file()
