"""int8 in `.onnx` files: the numbers are those that `archc.ir.quantization` states, and kernels for integers run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import archc
from archc.backends import emitter
from archc.backends.protocol import Form
from archc.ir import Graph, Node, ops
from archc.ir.graph import Builder
from archc.ir.quantization import Quantization, Range, keeps_range
from archc.ir.quantization import numbers as numbers_of
from archc.ir.state import Array, State
from archc.runtimes import open_file
from tests.backends.operations import IMAGE, network
from tests.exporting.onnx_samples import numbers
from tests.exporting.test_onnx import images, small

FUSED = ("relu", "relu6")


def values(graph: Graph, state: State, x: Array, folder: Path) -> dict[str, Array]:
    """What every operation gives, in float."""
    everything = replace(graph, outputs={node.name: node.name for node in graph.nodes[1:]}, single=False)
    emitter("onnx").emit(everything, state, folder / "values.onnx")
    return {graph.input.name: x, **open_file(folder / "values.onnx").run(x)}


def quantization(
    graph: Graph, state: State, x: Array, folder: Path, floats: frozenset[str] = frozenset()
) -> Quantization:
    """Everything in int8, by the ranges on some images; an activation of a convolution's holds both their values."""
    found = values(graph, state, x, folder)
    ranges = {name: Range(float(value.min()), float(value.max())) for name, value in found.items()}
    for node in graph.nodes[1:]:
        if keeps_range(node.op):
            read = [ranges[name] for name in numbers_of(node)]
            shared = Range(min(r.low for r in read), max(r.high for r in read))
            ranges.update(dict.fromkeys((*numbers_of(node), node.name), shared))
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)
    for node in graph.nodes:
        following = [reader.op for reader in readers[node.name]]
        if isinstance(node.op, ops.Conv | ops.Linear) and len(following) == 1:
            (op,) = following
            if isinstance(op, ops.Activation) and op.function in FUSED:
                del ranges[node.name]
    scales = {}
    for key, value in state.items():
        if value.ndim > 1:
            scales[key] = tuple((np.abs(value).reshape(len(value), -1).max(1) / 127 + 1e-6).tolist())
    return Quantization(ranges, scales, floats)


def optimised(file: Path, folder: Path) -> onnx.ModelProto:
    """The model that ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(str(file), options)
    return onnx.load(str(folder / "optimised.onnx"))


def kinds(model: onnx.ModelProto) -> Mapping[str, int]:
    return Counter(node.op_type for node in model.graph.node)


def as_written(file: Path, x: Array) -> Array:
    """What the file says, without any merging: rounding and floats."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: Array = onnxruntime.InferenceSession(str(file), options).run(None, {"image": x})[0]
    return found


def emitted(graph: Graph, state: State, held: Quantization, file: Path) -> Path:
    emitter("onnx").emit(graph, state, file, Form("int8", quantization=held))
    onnx.checker.check_model(str(file), full_check=True)
    return file


def rounded(value: Array, known: Range) -> Array:
    """A value after int8, in float64."""
    scale, zero = known.scale
    return (np.clip(np.rint(value / scale) + zero, -128, 127) - zero) * scale


def test_the_numbers_of_one_convolution(tmp_path: Path) -> None:
    """By hand, in NumPy: input, weights, bias and result are rounded as the IR says."""

    def make(net: Builder, x: Node) -> Node:
        return net.add("op", ops.Activation("relu"), net.add("conv", ops.Conv(5, (1, 1), bias=True), x))

    graph = network(make)
    state = {key: value - 1 for key, value in numbers(graph).items()}
    x = images(graph, 2, IMAGE[1:])
    held = quantization(graph, state, x, tmp_path)
    weight, bias = state["a.0.conv.weight"][:, :, 0, 0].astype(np.float64), state["a.0.conv.bias"].astype(np.float64)
    scales = np.array(held.weights["a.0.conv.weight"])
    kernel = np.rint(weight / scales[:, None]) * scales[:, None]
    step = scales * held.values["input"].scale.scale
    sums = np.einsum("oc,bchw->bohw", kernel, rounded(x, held.values["input"]))
    expected = rounded(sums + (np.rint(bias / step) * step)[:, None, None], held.values["a.0.op"])
    file = emitted(graph, state, held, tmp_path / "net.onnx")
    found = open_file(file).run(x)["a"]
    difference = np.abs(found - expected)
    assert difference.max() < 1.01 * held.values["a.0.op"].scale.scale, (
        "a number halfway between two may fall to either"
    )
    assert (difference > 1e-5).mean() < 0.01
    assert kinds(optimised(file, tmp_path))["QLinearConv"] == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v2", {"QLinearConv": 52, "QLinearAdd": 10, "QLinearGlobalAveragePool": 1, "QGemm": 1}),
        (
            "mnv3_small",
            {"QLinearConv": 52, "QLinearAdd": 6, "QLinearMul": 9, "QLinearGlobalAveragePool": 10, "QGemm": 2},
        ),
        ("resnet50", {"QLinearConv": 53, "QLinearAdd": 16, "QLinearGlobalAveragePool": 1, "QGemm": 1}),
    ],
)
def test_kernels_for_integers_run(name: str, expected: Mapping[str, int], tmp_path: Path) -> None:
    """Every layer is computed in integers, and the results are those of the file without any merging."""
    graph, state = small(name)
    x = images(graph, 2, (64, 96))
    file = emitted(graph, state, quantization(graph, state, x, tmp_path), tmp_path / "net.onnx")
    found = kinds(optimised(file, tmp_path))
    assert {kind: found[kind] for kind in expected} == expected
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "Add"} & found.keys()
    merged, plain = open_file(file).run(x)["head"], as_written(file, x)
    assert np.corrcoef(merged.ravel(), plain.ravel())[0, 1] > 0.999


def test_tokens(tmp_path: Path) -> None:
    """Layers on tokens become products of integers, too."""
    graph, state = small("mobilevit_xxs")
    layers = sum(isinstance(node.op, ops.Linear) for node in graph.nodes)
    x = images(graph, 1, (64, 96))
    file = emitted(graph, state, quantization(graph, state, x, tmp_path), tmp_path / "net.onnx")
    found = kinds(optimised(file, tmp_path))
    assert found["MatMulIntegerToFloat"] + found["QGemm"] == layers


def test_what_is_named_in_floats_stays_in_float(tmp_path: Path) -> None:
    """ONNX Runtime would round the weights of a convolution between int8 values by itself."""
    graph, state = small("mobilenet_v2")
    x = images(graph, 1, (64, 96))
    chosen = frozenset({"c2.1.expand.conv", "c2.1.expand.act", "c3.1.depthwise.conv", "c2.1.add"})
    file = emitted(graph, state, quantization(graph, state, x, tmp_path, chosen), tmp_path / "net.onnx")
    model = optimised(file, tmp_path)
    found = kinds(model)
    assert (found["QLinearConv"], found["Conv"] + found["FusedConv"]) == (50, 2)
    assert (found["QLinearAdd"], found["Add"]) == (9, 1)
    merged, plain = open_file(file).run(x)["head"], as_written(file, x)
    assert np.corrcoef(merged.ravel(), plain.ravel())[0, 1] > 0.999


def test_weights_are_stored_in_int8(tmp_path: Path) -> None:
    graph, state = small("mnv3_small")
    x = images(graph, 1, (64, 96))
    file = emitted(graph, state, quantization(graph, state, x, tmp_path), tmp_path / "net.onnx")
    stored: dict[str, Any] = {
        item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(str(file)).graph.initializer
    }
    for key, value in state.items():
        assert stored[key].dtype == (np.int8 if value.ndim > 1 else np.int32)
    emitter("onnx").emit(graph, state, tmp_path / "float.onnx")
    assert file.stat().st_size < 0.35 * (tmp_path / "float.onnx").stat().st_size


def test_a_bias_that_does_not_fit(tmp_path: Path) -> None:
    graph = network(lambda net, x: net.add("op", ops.Conv(5, (1, 1), bias=True), x))
    state = numbers(graph)
    held = quantization(graph, state, images(graph, 1, IMAGE[1:]), tmp_path)
    held = replace(held, weights={"a.0.op.weight": (1e-12,) * 5})
    with pytest.raises(archc.SpecError, match=r"`a\.0\.op\.bias` does not fit into 32-bit integers"):
        emitted(graph, state, held, tmp_path / "net.onnx")


def test_openvino_computes_the_same(tmp_path: Path) -> None:
    graph, state = small("mobilenet_v2")
    x = images(graph, 2, (64, 96))
    held = quantization(graph, state, x, tmp_path)
    file = emitted(graph, state, held, tmp_path / "net.onnx")
    emitter("openvino").emit(graph, state, tmp_path / "net.xml", Form("int8", quantization=held))
    assert (tmp_path / "net.bin").stat().st_size < 1.1 * file.stat().st_size
    found, plain = open_file(tmp_path / "net.xml").run(x)["head"], as_written(file, x)
    assert np.corrcoef(found.ravel(), plain.ravel())[0, 1] > 0.999
