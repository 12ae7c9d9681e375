"""`archc report` on files: archc's own by what they state, others by their own graph; and on transformed networks."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import archc
from archc.analysis.onnx_file import cost_of
from tests.cli.conftest import Outcome, Run

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

TINY = ["width_mult=0.25", "input.size=64"]


def foreign(model: nn.Module, path: Path, size: int = 64, batch: int = 1, **settings: Any) -> Path:
    """A file of torch's own exporter."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.zeros(batch, 3, size, size),), content, dynamo=False, opset_version=17, **settings
        )
    path.write_bytes(content.getvalue())
    return path


def counted(model: nn.Module, size: int = 64) -> tuple[int, int]:
    """torch's own parameters and MACs of a module."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    return sum(value.numel() for value in model.parameters()), counter.get_total_flops() // 2


def report(run: Run, *words: str | Path) -> Outcome:
    return run("report", *map(str, words))


def drawn(name: str) -> nn.Module:
    """A network of torchvision's in which no two tensors are equal: the exporter would keep only one of them."""
    model: nn.Module = getattr(torchvision.models, name)()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18"])
@pytest.mark.parametrize("batch", [1, 3])
def test_torchvisions_networks(name: str, batch: int, tmp_path: Path, run: Run) -> None:
    model = drawn(name)
    file = foreign(model, tmp_path / "x.onnx", batch=batch)
    params, macs = counted(model)
    printed = report(run, file, "--json").json
    assert printed["macs"] == macs == sum(layer["macs"] for layer in printed["layers"])
    folded = sum(module.num_features for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    # The exporter folds norms into convolutions: of scale and bias, the bias stays.
    assert printed["params"] == params - folded
    assert printed["input"] == [3, 64, 64]
    assert next(iter(printed["outputs"].values())) == {"shape": [1000]}


def test_the_same_as_archcs_own_count(tmp_path: Path, run: Run) -> None:
    """torchvision's exported network, and archc's spec of it after the same folding."""
    file = foreign(drawn("mobilenet_v3_small"), tmp_path / "x.onnx", 224)
    theirs = cost_of(file)
    ours = report(run, "mnv3_small", "--transform", "inference", "--json").json
    assert (theirs.params, theirs.macs) == (ours["params"], ours["macs"])
    own = [(layer["params"], layer["macs"]) for layer in ours["layers"]]
    assert [(layer.params, layer.macs) for layer in theirs.layers] == own


def test_norms_that_were_not_folded(tmp_path: Path) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, bias=False), nn.PReLU(4))
    found = cost_of(foreign(model, tmp_path / "x.onnx", 8))
    assert (found.params, found.macs) == counted(model, 8)
    assert [layer.op for layer in found.layers] == ["BatchNormalization", "Conv", "PRelu"]


def test_sizes_that_the_file_computes(tmp_path: Path) -> None:
    """MobileViT, as torch exports archc's own module of it, for any size: thirds of channels, patches of a size."""
    model = archc.build(archc.load("mobilevit_xxs", ["input.size=64"]), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cost_of(foreign(model, tmp_path / "x.onnx"))
    assert found.macs == archc.report(archc.load("mobilevit_xxs", ["input.size=64"])).macs


def test_attention_and_transposed_convolutions(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 8, 3, 2, groups=1)
            self.joined = nn.Linear(8, 24)
            self.last = nn.Linear(8, 5, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.up(x).flatten(2).transpose(1, 2)
            query, key, value = self.joined(tokens).chunk(3, 2)
            weights = (query @ key.transpose(1, 2)).softmax(2)
            found: torch.Tensor = self.last((weights @ value).mean(1))
            return found

    model = Net()
    found = cost_of(foreign(model, tmp_path / "x.onnx", 8))
    assert (found.params, found.macs) == counted(model, 8)


def test_a_file_for_any_size(tmp_path: Path, run: Run) -> None:
    model = torchvision.models.resnet18()
    axes = {"x": {0: "batch", 2: "height", 3: "width"}}
    file = foreign(model, tmp_path / "x.onnx", input_names=["x"], dynamic_axes=axes)
    result = report(run, file)
    assert result.code == 1
    assert "leaves sizes of its input `x` open" in result.err
    assert "--size" in result.err
    assert report(run, file, "--size", "96", "--json").json["macs"] == counted(model, 96)[1]
    fixed = foreign(model, tmp_path / "fixed.onnx")
    assert "does not leave the height and width" in report(run, fixed, "--size", "96").err


def test_text(tmp_path: Path, run: Run) -> None:
    file = foreign(torchvision.models.resnet18(), tmp_path / "x.onnx")
    lines = report(run, file).out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("Conv", "Gemm"))] == [["Conv", "20"], ["Gemm", "1"]]
    nodes = report(run, file, "--layers").out.splitlines()
    assert sum(" Conv " in line for line in nodes) == 20
    assert any(line.startswith("total") and f"{counted(torchvision.models.resnet18())[1]:,}" in line for line in nodes)


@pytest.mark.parametrize("preprocess", [False, True])
def test_archcs_own_file_is_the_network_it_states(preprocess: bool, tmp_path: Path, run: Run) -> None:
    file = tmp_path / "x.onnx"
    archc.export("mnv3_small", file, seed=0, overrides=TINY, preprocess=preprocess, check=False)
    transforms = ["--transform", "inference"] + ["--transform", "preprocess"] * preprocess
    assert report(run, file, "--json").json == report(run, "mnv3_small", *TINY, *transforms, "--json").json
    text = report(run, "mnv3_small", *TINY, *transforms).out.splitlines()
    assert report(run, file).out.splitlines()[1:] == text[1:]
    own, stated = cost_of(file, (64, 64)), report(run, file, "--json").json
    assert (own.params, own.macs) == (stated["params"], stated["macs"]), "the file computes what it states"


@pytest.mark.parametrize("suffix", [".tflite", ".xml"])
def test_other_files_of_archcs(suffix: str, tmp_path: Path, run: Run) -> None:
    file = tmp_path / f"x{suffix}"
    archc.export("mnv3_small", file, seed=0, overrides=TINY, check=False)
    expected = report(run, "mnv3_small", *TINY, "--transform", "inference", "--json").json
    assert report(run, file, "--json").json == expected


def test_transforms_change_the_count(run: Run) -> None:
    plain = report(run, "mnv3_small", "--json").json
    folded = report(run, "mnv3_small", "--transform", "inference", "--json").json
    norms = sum(layer["params"] for layer in plain["layers"] if layer["op"] == "batch_norm")
    assert folded["params"] == plain["params"] - norms // 2, "every norm's bias becomes the convolution's"
    assert folded["macs"] == plain["macs"]
    assert "batch_norm" not in {layer["op"] for layer in folded["layers"]}
    swept = report(run, "mnv3_small", "width_mult=0.5,1", "--transform", "inference")
    assert (swept.code, "takes one network, not a sweep" in swept.err) == (2, True)
    assert report(run, "mnv3_small", "--transform", "nothing").code != 0


def model_of(nodes: list[Any], tensors: list[Any], shape: list[Any], path: Path) -> Path:
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.me", 1)]
    graph = helper.make_graph(nodes, "net", [source], [result], tensors)
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


def test_operations_that_are_not_known(tmp_path: Path, run: Run) -> None:
    node = helper.make_node("Magic", ["x"], ["y"], name="here", domain="com.me")
    result = report(run, model_of([node], [], [1, 3, 8, 8], tmp_path / "x.onnx"))
    assert result.code == 1
    assert "the cost of `com.me::Magic` is not known, which the node `here`" in result.err
    node = helper.make_node("STFT", ["x", "step"], ["y"], name="wave")
    step = numpy_helper.from_array(np.array(2), "step")
    result = report(run, model_of([node], [step], [1, 64, 1], tmp_path / "y.onnx"))
    assert (result.code, "`STFT`" in result.err) == (1, True)


def test_shared_and_quantised_weights_count_once(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.int8), "w")
    scale, zero = numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"]),
        helper.make_node("Conv", ["x", "real"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "real"], ["y"], name="second"),
    ]
    found = cost_of(model_of(nodes, [weight, scale, zero], [1, 3, 4, 4], tmp_path / "x.onnx"))
    assert [(layer.name, layer.params, layer.macs) for layer in found.layers] == [("first", 9, 144), ("second", 0, 144)]


def test_bad_files(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes(b"\x00nothing")
    result = report(run, file)
    assert (result.code, "damaged, or no ONNX file" in result.err) == (1, True)
    assert report(run, tmp_path / "missing.onnx").code == 2
    foreign(torchvision.models.resnet18(), file)
    assert "leave `--transform` and KEY=VALUE out" in report(run, file, "width_mult=1").err
    assert "`--counter` needs a network of archc's" in report(run, file, "--counter", "torch").err
    (tmp_path / "x.xml").write_text("<net/>")
    assert report(run, tmp_path / "x.xml").code in (1, 2)
    assert "`--size` is for an `.onnx` file" in report(run, "mnv3_small", "--size", "64").err
