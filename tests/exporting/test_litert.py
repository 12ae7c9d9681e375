"""Files for LiteRT: every operation, every spec, and what the files say, in LiteRT's interpreter beside torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import archc
from archc.backends import emitter
from archc.backends.litert.activations import ACTIVATIONS
from archc.backends.litert.flat import schema
from archc.backends.litert.rules import RULES
from archc.backends.protocol import Form, raw
from archc.ir import Builder, Graph, Node, ops
from archc.ir.quantization import Quantization
from archc.ir.state import State
from archc.runtimes import open_file
from archc.transforms import apply
from tests.backends.operations import IMAGE, SAMPLES, Make, network
from tests.exporting.litert import by_torch, error, images, opened, written
from tests.transforms.networks import initial

CLOSE = 1e-5
FLOATS = ops.Input()


def numbers(graph: Graph) -> State:
    """Numbers around zero for every weight; variances are positive."""
    rng = np.random.default_rng(0)
    return {
        key: rng.uniform(0.5 if key.endswith("var") else -1, 1, weight.shape).astype(np.float32)
        for key, weight in graph.tensors()
    }


def one(op: ops.Op) -> Make:
    return lambda net, x: net.add("op", op, x)


def after(other: ops.Op, op: ops.Op) -> Make:
    return lambda net, x: net.add("op", op, net.add("other", other, x))


def check(make: Make, directory: Path) -> None:
    graph = network(make)
    state = numbers(graph)
    for batch in (None, 3):
        session = opened(graph, state, directory, Form(batch=batch))
        for count in (1, 3) if batch is None else (3,):
            x = images(graph, count)
            assert error(session.run(x), by_torch(graph, state, x)) < CLOSE


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind != "normalize"])  # see `test_pixels`
def test_every_operation(kind: str, tmp_path: Path) -> None:
    check(SAMPLES[kind], tmp_path)


def test_every_operation_has_a_rule() -> None:
    assert {op.kind for op in RULES} >= SAMPLES.keys()


@pytest.mark.parametrize("padding", ["symmetric", "same", "valid"])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (3, 5)])
def test_windows(kernel: ops.Pair, padding: ops.PadMode, tmp_path: Path) -> None:
    for stride in (1, 2, 3):
        check(one(ops.Conv(4, kernel, stride, bias=True, padding=padding)), tmp_path)
        check(one(ops.Conv(12, kernel, stride, groups=6, padding=padding)), tmp_path)
        check(one(ops.Pool("max", kernel, stride, padding)), tmp_path)
        for count in (True, False):
            check(one(ops.Pool("avg", kernel, stride, padding, count)), tmp_path)
    for groups in (1, 3, 6):
        check(one(ops.Conv(12, kernel, 1, 2, groups, padding=padding)), tmp_path)


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activations(function: str, tmp_path: Path) -> None:
    check(after(ops.Conv(5, bias=True), ops.Activation(function)), tmp_path)
    graph = network(one(ops.Activation(function)))
    x = np.linspace(-30, 90, 2 * np.prod(IMAGE), dtype=np.float32).reshape(2, *IMAGE)
    assert error(opened(graph, {}, tmp_path).run(x), by_torch(graph, {}, x)) < CLOSE


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 5), (2, 3)])
def test_resizing(kernel: ops.Pair, mode: ops.Interpolation, tmp_path: Path) -> None:
    small = ops.Pool("max", kernel, 2, "valid")
    check(lambda net, x: net.add("op", ops.Resize(mode), net.add("small", small, x), x), tmp_path)
    check(lambda net, x: net.add("op", ops.Resize(mode), x, net.add("small", small, x)), tmp_path)


def test_nearest_takes_the_pixels_that_torch_takes(tmp_path: Path) -> None:
    # At the first two, 32-bit floats take other pixels than ⌊i · in / out⌋ does: torch, too.
    for before, size in ((2, 82), (3, 123), (3, 55), (41, 55), (25, 47)):
        net = Builder()
        x = net.placeholder(ops.Image(2, 1, size))
        small = net.add("small", ops.Pool("max", (1, size - before + 1), 1, "valid"), x)
        graph = _graph(net, net.add("op", ops.Resize("nearest"), small, x), x.shape)
        pixels = images(graph, 1)
        (found,) = opened(graph, {}, tmp_path).run(pixels).values()
        assert np.array_equal(found, by_torch(graph, {}, pixels)["out"])


def _graph(net: Builder, result: Node, shape: ops.Shape, source: ops.Input = FLOATS) -> Graph:
    from archc.ir.graph import Region

    region = Region("a", 0, "Sample", net.finish(result), ("input",))
    return Graph("sample", Node("input", source, (), shape), (region,), {"a": "Stage"}, {"out": "a.0.op"}, True)


@pytest.mark.parametrize("patch", [(1, 1), (2, 2), (4, 4), (1, 3), (2, 4)])
def test_patches(patch: ops.Pair, tmp_path: Path) -> None:
    check(one(ops.Unfold(patch)), tmp_path)
    check(lambda net, x: net.add("op", ops.Fold(patch), net.add("tokens", ops.Unfold(patch), x), x), tmp_path)


@pytest.mark.parametrize("reverse", [False, True])
def test_pixels(reverse: bool, tmp_path: Path) -> None:
    net = Builder()
    x = net.placeholder(IMAGE)
    op = ops.Normalize((1.5, 2, 3, 128, 5, 6), (0.5, 1, 2, 0.1, 3, 4), reverse)
    graph = _graph(net, net.add("op", op, x), IMAGE, ops.Input("uint8"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *IMAGE), dtype=np.uint8)
    session = opened(graph, {}, tmp_path)
    assert session.input == ("image", (None, *IMAGE), "uint8")
    assert error(session.run(pixels), by_torch(graph, {}, pixels)) < CLOSE


QUICK = {"mnv3_small", "mobilevit_xxs", "lraspp_mnv3_large", "ssdlite320_mnv3_large", "keras_mnv3_small"}


@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in sorted(archc.specs())]
)
def test_every_spec(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    graph = raw(archc.lower(archc.load(name, [f"input.size={list(size)}", "width_mult=0.25"])))
    state = initial(graph)
    folded, weights = apply(graph, state, ["inference"])
    assert weights is not None
    session = opened(folded, weights, tmp_path)
    assert session.outputs == tuple(graph.outputs)
    for batch in (1, 3):
        x = images(graph, batch)
        assert error(session.run(x), by_torch(graph, state, x, double=True)) < CLOSE


@pytest.mark.parametrize(
    "name", ["mnv3_small", "lraspp_mnv3_large", pytest.param("fasterrcnn_mnv3_large_320_fpn", marks=pytest.mark.slow)]
)
def test_one_file_for_any_size(name: str, tmp_path: Path) -> None:
    graph = raw(archc.lower(archc.load(name, ["input.size=96"])))
    state = initial(graph)
    assert emitter("litert").any_size(graph)
    session = opened(graph, state, tmp_path, Form(any_size=True))
    assert session.input.shape == (None, 3, None, None)
    for batch, size in ((1, (96, 96)), (2, (65, 97)), (1, (64, 128)), (2, (65, 97))):
        other = raw(archc.lower(archc.load(name, [f"input.size={list(size)}"])))
        x = images(other, batch)
        assert error(session.run(x), by_torch(other, state, x)) < CLOSE


def test_what_depends_on_the_size() -> None:
    def any_size(make: Make) -> bool:
        return emitter("litert").any_size(network(make))

    assert not emitter("litert").any_size(archc.lower(archc.load("mobilevit_xxs")))
    assert not any_size(one(ops.Flatten()))
    assert any_size(after(ops.GlobalPool(), ops.Flatten()))
    assert not any_size(one(ops.Pool("avg", (3, 3), 2, "same", True)))
    assert not any_size(one(ops.Pool("avg", (3, 3), 2, "symmetric", False)))
    assert any_size(one(ops.Pool("avg", (3, 3), 2, "same", False)))
    assert any_size(one(ops.Pool("avg", (3, 3), 2, "symmetric", True)))
    assert any_size(one(ops.Pool("avg", (3, 3), 2, "valid")))


@pytest.mark.parametrize("make", [one(ops.Pool("avg", (3, 3), 2, "symmetric", True)), one(ops.Pool("max", (3, 3), 2))])
def test_pools_at_any_size(make: Make, tmp_path: Path) -> None:
    graph = network(make)
    session = opened(graph, {}, tmp_path, Form(any_size=True))
    for height, width in ((8, 12), (7, 9)):
        x = np.random.default_rng(0).standard_normal((2, 6, height, width), dtype=np.float32)
        assert error(session.run(x), by_torch(graph, {}, x)) < CLOSE


def small() -> tuple[Graph, State]:
    graph = archc.lower(archc.load("mnv3_small", ["input.size=64", "width_mult=0.25", "num_classes=10"]))
    folded, state = apply(graph, initial(graph), ["inference"])
    assert state is not None
    return folded, state


def test_weights_in_16_bits(tmp_path: Path) -> None:
    graph, state = small()
    x = images(graph, 3)
    size = written(graph, state, tmp_path).stat().st_size
    session = opened(graph, state, tmp_path, Form("f16"))
    half = {key: value.astype(np.float16).astype(np.float32) for key, value in state.items()}
    assert error(session.run(x), by_torch(graph, half, x)) < CLOSE
    weights = sum(value.nbytes for value in state.values())
    assert size - written(graph, state, tmp_path, Form("f16")).stat().st_size > 0.4 * weights


def test_a_weight_that_does_not_fit_16_bits(tmp_path: Path) -> None:
    graph = network(one(ops.Conv(4)))
    state = {key: np.full_like(value, 70000) for key, value in numbers(graph).items()}
    with pytest.raises(archc.SpecError, match=r"unsupported-form.*`a\.0\.op\.weight` holds 7e\+04"):
        written(graph, state, tmp_path, Form("f16"))


def test_metadata_and_names(tmp_path: Path) -> None:
    graph, state = small()
    texts = {"archc_spec": "name: größe\n", "archc_classes": json.dumps(["a"] * 1000), "empty": ""}
    session = opened(graph, state, tmp_path, Form(metadata=texts))
    assert session.metadata == texts
    assert session.input == ("image", (None, 3, 64, 64), "float32")
    assert session.outputs == ("head",)


def test_outputs_that_are_one_value_or_the_input(tmp_path: Path) -> None:
    graph = network(one(ops.Activation("relu")))
    graph = replace(graph, outputs={"a": "a.0.op", "b": "a.0.op", "same": "input"}, single=False)
    x = images(graph, 2)
    found = opened(graph, {}, tmp_path).run(x)
    assert list(found) == ["a", "b", "same"]
    assert np.array_equal(found["a"], np.maximum(x, 0))
    assert np.array_equal(found["b"], found["a"])
    assert np.array_equal(found["same"], x)


def test_the_same_file_every_time(tmp_path: Path) -> None:
    graph, state = small()
    assert written(graph, state, tmp_path).read_bytes() == written(graph, state, tmp_path).read_bytes()


def test_buffers_are_aligned(tmp_path: Path) -> None:
    content = written(*small(), tmp_path).read_bytes()
    model = schema.Model.GetRootAs(content)
    filled = [model.Buffers(i) for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    assert len(filled) > 50
    for buffer in filled:
        table = buffer._tab
        assert table.Vector(table.Offset(4)) % 16 == 0


@pytest.mark.slow
def test_no_torch_and_no_tensorflow(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
import numpy as np
import archc
from archc.backends import emitter
from archc.runtimes import open_file
graph = archc.lower(archc.load("mnv3_small", ["input.size=32", "width_mult=0.25"]))
state = {{key: np.full(weight.shape, 0.01, np.float32) for key, weight in graph.tensors()}}
file = Path({str(tmp_path)!r}) / "x.tflite"
emitter("litert").emit(graph, state, file)
print(open_file(file).run(np.zeros((1, 3, 32, 32), np.float32))["head"].shape)
print(sorted({{"torch", "tensorflow", "jax", "keras", "onnx"}} & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "(1, 1000)\n[]\n"
    assert found.stderr == ""


@dataclass(frozen=True)
class Twice(ops.Op):
    """An operation that no backend knows."""

    kind = "twice_for_litert"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(archc.SpecError, match=r"unsupported-op.*litert backend has no `twice_for_litert`.*`a\.0`"):
        written(network(one(Twice())), {}, tmp_path)
    with pytest.raises(archc.SpecError, match=r"unsupported-op.*has no `activation`"):
        written(network(one(ops.Activation("softsign"))), {}, tmp_path)
    with pytest.raises(archc.SpecError, match=r"unsupported-form.*raw predictions"):
        written(network(one(ops.Activation("relu"))), {}, tmp_path, Form(boxes=True))
    with pytest.raises(archc.SpecError, match=r"unsupported-form.*one size only"):
        written(network(one(ops.Flatten())), {}, tmp_path, Form(any_size=True))
    for form in (Form("int8"), Form("f32", quantization=Quantization())):
        with pytest.raises(archc.SpecError, match=r"unsupported-form.*in int8 needs the ranges"):
            written(network(one(ops.Activation("relu"))), {}, tmp_path, form)
    graph = network(one(ops.Conv(1 << 27)))
    weight = np.broadcast_to(np.float32(0), (1 << 27, IMAGE.channels, 1, 1))  # 3 GiB that are not there
    with pytest.raises(archc.SpecError, match=r"unsupported-form.*holds less than 2 GiB.* are 3\.0 GiB"):
        written(graph, {"a.0.op.weight": weight}, tmp_path)
    with pytest.raises(ValueError, match=r"`a\.0\.op\.weight` is missing"):
        written(network(one(ops.Conv(3))), {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damaged_files(tmp_path: Path) -> None:
    whole = written(*small(), tmp_path).read_bytes()
    file = tmp_path / "bad.tflite"
    for content in (b"", b"PK\x03\x04 and more", whole[:4] + b"TFL2" + whole[8:]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.tflite` is no `\.tflite` file"):
            open_file(file)
    for content in (whole[:5000], whole[:-5000], whole[:8] + b"\xff" * 5000):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.tflite` is damaged"):
            open_file(file)


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    session = opened(*small(), tmp_path)
    with pytest.raises(ValueError, match="takes float32 images of any×3×64×64, not float32 ones of 1×3×64×65"):
        session.run(np.zeros((1, 3, 64, 65), np.float32))
    with pytest.raises(ValueError, match="not uint8 ones"):
        session.run(np.zeros((1, 3, 64, 64), np.uint8))
    x = np.ones((1, 3, 64, 64), np.float32)
    expected = session.run(x)["head"]
    with pytest.raises(ValueError, match="cannot take images of 0×3×64×64"):
        session.run(np.zeros((0, 3, 64, 64), np.float32))
    assert np.array_equal(session.run(x)["head"], expected)


@pytest.mark.slow
def test_exported_and_checked(tmp_path: Path) -> None:
    found = archc.export("mnv3_small", tmp_path / "x.tflite", seed=0, preprocess=True, overrides=["width_mult=0.25"])
    assert found.checked is not None
    assert found.checked.runtime == "litert"
    assert found.checked.worst < CLOSE
    session = open_file(tmp_path / "x.tflite", threads=2)
    assert session.input.dtype == "uint8"
    assert session.metadata["archc_precision"] == "f32"
