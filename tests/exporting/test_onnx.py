"""`.onnx` files: what they compute in ONNX Runtime beside torch, and what they state."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import archc
from archc.analysis.sizes import takes_any_size
from archc.backends import builder, emitter
from archc.backends.protocol import Form, raw
from archc.ir import Graph, ops
from archc.ir.ops import KINDS
from archc.ir.state import Array, State
from archc.runtimes import open_file
from tests.backends.operations import IMAGE, SAMPLES, network
from tests.exporting.onnx_samples import CASES, numbers
from tests.transforms.networks import initial

CLOSE = 1e-5
"""The largest difference in float32, as a share of the output's largest number."""
QUICK = ("keras_mnv3_small", "mobilevit_xxs", "ssdlite320_mnv3_large", "fasterrcnn_mnv3_large_320_fpn")
OURS = sorted(kind for kind, op in KINDS.items() if op.__module__.startswith("archc.") and op is not ops.Input)


def written(graph: Graph, state: State, file: Path, form: Form) -> onnx.ModelProto:
    """The model in a file, which the checker accepts."""
    emitter("onnx").emit(graph, state, file, form)
    onnx.checker.check_model(str(file), full_check=True)
    return onnx.load(str(file))


def images(graph: Graph, batch: int, size: tuple[int, ...]) -> Array:
    return np.random.default_rng(batch).standard_normal((batch, graph.input.shape[0], *size), dtype=np.float32)


def worst(file: Path, graph: Graph, state: State, x: Array, runtime: str = "onnxruntime") -> float:
    """The largest relative difference of any output of a file from torch's."""
    found = open_file(file, runtime).run(x)
    with torch.inference_mode():
        reference = builder("torch").build(graph, state=state).eval()(torch.from_numpy(x))
    named = {next(iter(graph.outputs)): reference} if graph.single else reference
    assert list(found) == list(graph.outputs)
    differences = []
    for name, value in named.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == np.float32
        differences.append(float(np.abs(found[name] - value.numpy()).max() / np.abs(value.numpy()).max()))
    return max(differences)


def small(name: str, *more: str) -> tuple[Graph, State]:
    """A bundled spec with few channels, on a small image."""
    graph = raw(archc.lower(archc.load(name, ["input.size=[64,96]", "width_mult=0.25", *more])))
    return graph, initial(graph)


def test_every_operation_is_tried() -> None:
    assert set(OURS) <= set(SAMPLES)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", [Form(), Form(batch=2), Form(any_size=True)], ids=["open", "fixed", "any size"])
def test_every_operation(case: str, form: Form, tmp_path: Path) -> None:
    graph = network(CASES[case])
    state = numbers(graph)
    if form.any_size and not takes_any_size(graph):
        with pytest.raises(archc.SpecError, match="images of one size only"):
            emitter("onnx").emit(graph, state, tmp_path / "net.onnx", form)
        return
    written(graph, state, tmp_path / "net.onnx", form)
    assert worst(tmp_path / "net.onnx", graph, state, images(graph, 2, IMAGE[1:])) < CLOSE


PATCHED = ("unfold", "fold", "layer_norm", "attention", "tokens")
"""Their patches tile only some sizes."""


@pytest.mark.parametrize("case", [case for case in CASES if takes_any_size(network(CASES[case]))])
def test_other_sizes(case: str, tmp_path: Path) -> None:
    graph = network(CASES[case])
    state = numbers(graph)
    written(graph, state, tmp_path / "net.onnx", Form(any_size=True))
    for size in [(4, 9), (16, 6)] if case in PATCHED else [(9, 7), (13, 20), (5, 16)]:
        assert worst(tmp_path / "net.onnx", graph, state, images(graph, 1, size)) < CLOSE


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(archc.specs())]
)
def test_bundled_specs(name: str, tmp_path: Path) -> None:
    graph, state = small(name)
    file = tmp_path / "net.onnx"
    written(graph, state, file, Form(any_size=True))
    for batch, size in ((1, (64, 96)), (3, (97, 61))):
        assert worst(file, graph, state, images(graph, batch, size)) < CLOSE
    written(graph, state, file, Form(batch=3))
    assert worst(file, graph, state, images(graph, 3, (64, 96))) < CLOSE


def test_an_odd_fixed_size(tmp_path: Path) -> None:
    graph = archc.lower(archc.load("keras_mnv3_small", ["input.size=[97,61]", "width_mult=0.25"]))
    state = initial(graph)
    written(graph, state, tmp_path / "net.onnx", Form())
    for batch in (1, 3):
        assert worst(tmp_path / "net.onnx", graph, state, images(graph, batch, (97, 61))) < CLOSE


def test_pixels(tmp_path: Path) -> None:
    """Pixels in, and the normalisation inside: beside torch on images that were normalised before."""
    graph, state = small("mnv3_small")
    exported = archc.export(graph, tmp_path / "net.onnx", state=state, preprocess=True)
    assert exported.checked is not None
    assert exported.checked.worst < CLOSE
    session = open_file(tmp_path / "net.onnx")
    assert (session.input.name, session.input.dtype) == ("image", "uint8")
    with pytest.raises(ValueError, match="takes uint8 images"):
        session.run(images(graph, 1, (64, 96)))


def test_half_precision(tmp_path: Path) -> None:
    """All weights are 16-bit floats; what goes in and comes out are 32-bit ones."""
    graph, state = small("mnv3_small")
    model = written(graph, state, tmp_path / "net.onnx", Form("f16", any_size=True))
    weights = {item.data_type for item in model.graph.initializer if len(item.dims) > 1}
    assert weights == {TensorProto.FLOAT16}
    ports = [port.type.tensor_type.elem_type for port in (*model.graph.input, *model.graph.output)]
    assert ports == [TensorProto.FLOAT] * 2
    assert 1e-6 < worst(tmp_path / "net.onnx", graph, state, images(graph, 2, (65, 96))) < 1e-2


@pytest.mark.parametrize("case", ["normalize", "attention", "bilinear, odd", "mean, same, without padding", "mish"])
def test_operations_in_half_precision(case: str, tmp_path: Path) -> None:
    graph = network(CASES[case])
    state = numbers(graph)
    written(graph, state, tmp_path / "net.onnx", Form("f16"))
    assert worst(tmp_path / "net.onnx", graph, state, images(graph, 2, IMAGE[1:])) < 1e-2


def test_what_the_file_states(tmp_path: Path) -> None:
    graph, state = small("mnv3_small")
    model = written(graph, state, tmp_path / "net.onnx", Form(any_size=True, metadata={"a": "1", "b": "zwei\n"}))
    assert {item.key: item.value for item in model.metadata_props} == {"a": "1", "b": "zwei\n"}
    assert open_file(tmp_path / "net.onnx").metadata == {"a": "1", "b": "zwei\n"}
    assert (model.producer_name, model.producer_version) == ("archc", archc.__version__)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 20)]
    image = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in image] == ["batch", 3, "height", "width"]


def test_names(tmp_path: Path) -> None:
    """Every operation's node has its name, so that a profile can be read by rows."""
    graph, state = small("mnv3_small")
    model = written(graph, state, tmp_path / "net.onnx", Form())
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert [name for name in names if "/" not in name] == [
        node.name for node in graph.nodes[1:] if not isinstance(node.op, ops.Dropout | ops.DropPath)
    ]
    assert {item.name for item in model.graph.initializer if item.name in state} == set(state)


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    graph, state = small("mobilevit_xxs")
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    for file in (first, second):
        emitter("onnx").emit(graph, state, file, Form(any_size=True, metadata={"b": "1", "a": "2"}))
    assert first.read_bytes() == second.read_bytes()


def test_one_value_by_several_names(tmp_path: Path) -> None:
    """Also the input itself, and a value that has the name of another."""
    graph = network(lambda net, x: net.add("op", ops.Activation("relu"), net.add("other", ops.Activation("tanh"), x)))
    named = {"a": "a.0.op", "b": "a.0.op", "c": "input", "a.0.op": "a.0.other"}
    graph = replace(graph, outputs=named, single=False)
    written(graph, {}, tmp_path / "net.onnx", Form())
    assert worst(tmp_path / "net.onnx", graph, {}, images(graph, 2, IMAGE[1:])) < CLOSE


def test_weights_that_rows_share_are_kept_once(tmp_path: Path) -> None:
    graph, state = small("fasterrcnn_mnv3_large_320_fpn")
    assert any(region.shares for region in graph.regions)
    model = written(graph, state, tmp_path / "net.onnx", Form())
    stored = sum(int(np.prod(item.dims)) for item in model.graph.initializer if len(item.dims) > 1)
    assert stored == sum(weight.size for _, weight in graph.tensors() if len(weight.shape) > 1)


def test_torch_is_not_needed() -> None:
    program = """
import sys, tempfile
from pathlib import Path
import numpy as np
import archc
from archc.backends import builder, emitter
graph = archc.lower(archc.load("mnv3_small", ["width_mult=0.25"]))
state = {key: np.zeros(weight.shape, np.float32) for key, weight in graph.tensors()}
with tempfile.TemporaryDirectory() as folder:
    emitter("onnx").emit(graph, state, Path(folder) / "net.onnx")
    assert (Path(folder) / "net.onnx").stat().st_size > 1e6
assert not {"torch", "tensorflow", "keras", "onnxruntime"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_numbers_that_are_too_large_for_16_bits(tmp_path: Path) -> None:
    graph = network(CASES["conv"])
    state = {key: value * 1e6 for key, value in numbers(graph).items()}
    with pytest.raises(archc.SpecError, match=r"`a\.0\.op\.weight` has numbers up to .*; 16-bit floats end at 65504"):
        emitter("onnx").emit(graph, state, tmp_path / "net.onnx", Form("f16"))


def test_a_network_that_is_too_large(tmp_path: Path) -> None:
    graph = network(lambda net, x: net.add("op", ops.Linear(1_000_000), net.add("flat", ops.Flatten(), x)))
    state = {key: np.broadcast_to(np.float32(0), weight.shape) for key, weight in graph.tensors()}
    with pytest.raises(archc.SpecError, match=r"has 2\.3 GB of weights; an `\.onnx` file holds at most 2 GB"):
        emitter("onnx").emit(graph, state, tmp_path / "net.onnx", Form())


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    graph = network(CASES["conv"])
    with pytest.raises(ValueError, match=r"`a\.0\.op\.weight` is missing"):
        emitter("onnx").emit(graph, {}, tmp_path / "net.onnx", Form())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\x09"])
def test_damaged_files(content: bytes, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged, or no file that ONNX Runtime runs"):
        open_file(tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    graph, state = small("mnv3_small")
    emitter("onnx").emit(graph, state, tmp_path / "net.onnx")
    whole = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        open_file(tmp_path / "net.onnx")


def test_another_programs_file(tmp_path: Path) -> None:
    """With a name of its own for the input, and one fixed size; threads can be set."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 4])
    kernel = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1), "k")
    graph = helper.make_graph([helper.make_node("Conv", ["x", "k"], ["y"])], "other", [image], [result], [kernel])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "net.onnx"))
    session = open_file(tmp_path / "net.onnx", threads=1)
    assert session.input == ("x", (1, 3, 4, 4), "float32")
    assert session.metadata == {}
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4), dtype=np.float32)
    expected = np.einsum("oc,bchw->bohw", np.arange(6).reshape(2, 3), x)
    assert np.abs(session.run(x)["y"] - expected).max() < 1e-5
    with pytest.raises(ValueError, match=r"takes float32 images of 1×3×4×4, not float32 ones of 2×3×4×4"):
        session.run(np.concatenate([x, x]))


def test_images_that_are_too_small(tmp_path: Path) -> None:
    graph = network(CASES["valid"])
    written(graph, numbers(graph), tmp_path / "net.onnx", Form(any_size=True))
    with pytest.raises(ValueError, match="cannot take images of 1×6×1×1"):
        open_file(tmp_path / "net.onnx").run(images(graph, 1, (1, 1)))
