"""`.pte` files, run by ExecuTorch beside torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import archc
from archc.backends import emitter
from archc.backends.protocol import Form, raw
from archc.ir import Builder, Graph, Node, ops
from archc.ir.quantization import Scale
from archc.ir.state import Array, State
from archc.runtimes import open_file
from archc.transforms import apply
from tests.backends.operations import network as sample
from tests.exporting.compared import CLOSE, in_torch, worst
from tests.exporting.quantised import quantization, reference
from tests.transforms.networks import initial

SMALL = ["width_mult=0.25", "input.size=64", "num_classes=10"]


class Net(NamedTuple):
    graph: Graph
    state: State


def net(name: str, *overrides: str) -> Net:
    """A network with its norms folded."""
    graph = raw(archc.lower(archc.load(name, [*SMALL, *overrides])))
    folded, state = apply(graph, initial(graph), ["inference"])
    assert state is not None
    return Net(folded, _louder(folded, state))


def _louder(graph: Graph, state: State) -> State:
    """Initial scores are too small for float16 to hold."""
    last = [node.name for node in graph.nodes if isinstance(node.op, ops.Linear)][-1:]
    scale = {f"{name}.weight": np.float32(50) for name in last}
    return {key: value * scale.get(key, np.float32(1)) for key, value in state.items()}


def images(batch: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, 3, 64, 64), dtype=np.float32)


def cosine(one: Array, other: Array) -> float:
    return float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum()))


def export(one: Net, folder: Path, **settings: Any) -> Path:
    file = folder / "net.pte"
    archc.export(one.graph, file, state=one.state, check=False, **settings)
    return file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one convolution and an activation, for any batch up to the largest."""
    graph = sample(
        lambda net, x: net.add("op", ops.Activation("hardswish"), net.add("conv", ops.Conv(4, (3, 3), 2), x))
    )
    file = tmp_path_factory.mktemp("tiny") / "net.pte"
    emitter("executorch").emit(graph, initial(graph), file, Form(metadata={"archc_version": "9", "text": "é×"}))
    return file


def test_a_file_says_what_it_takes_and_returns(tiny: Path) -> None:
    session = open_file(tiny)
    assert session.input == ("image", (None, 6, 8, 12), "float32")
    assert session.outputs == ("a",)
    assert dict(session.metadata) == {"archc_version": "9", "text": "é×"}


def test_any_batch_up_to_the_largest(tiny: Path) -> None:
    graph = sample(
        lambda net, x: net.add("op", ops.Activation("hardswish"), net.add("conv", ops.Conv(4, (3, 3), 2), x))
    )
    session = open_file(tiny)
    for batch in (1, 3, 32, 2):
        x = np.random.default_rng(batch).standard_normal((batch, 6, 8, 12), dtype=np.float32)
        assert worst(session.run(x), in_torch(graph, initial(graph), x)) < CLOSE
    for batch in (0, 33):
        with pytest.raises(ValueError, match=f"the file takes 1 to 32 images at a time, not {batch}"):
            session.run(np.zeros((batch, 6, 8, 12), np.float32))


def test_images_of_another_size_or_type(tiny: Path) -> None:
    session = open_file(tiny)
    with pytest.raises(ValueError, match="takes float32 images of any×6×8×12, not float32 ones of 1×6×8×8"):
        session.run(np.zeros((1, 6, 8, 8), np.float32))
    with pytest.raises(ValueError, match="not uint8 ones"):
        session.run(np.zeros((1, 6, 8, 12), np.uint8))


def test_files_that_are_none(tmp_path: Path, tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.pte"
    file.write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"bad\.pte` is no `\.pte` file"):
        open_file(file)
    file.write_bytes(tiny.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"bad\.pte` is damaged, or no file that this ExecuTorch runs"):
        open_file(file)
    assert capfd.readouterr().err == "", "what the library says is in the message"


def test_what_a_file_cannot_be(tmp_path: Path) -> None:
    graph = sample(lambda net, x: net.add("op", ops.GlobalPool(), x))
    library, file = emitter("executorch"), tmp_path / "net.pte"
    for form, said in (
        (Form(any_size=True), "takes images of one size only"),
        (Form(boxes=True), "returns a detector's raw predictions"),
    ):
        with pytest.raises(archc.SpecError, match=said) as caught:
            library.emit(graph, {}, file, form)
        assert caught.value.diagnostics[0].id == "unsupported-form"
    with pytest.raises(ValueError, match="does not fit"):
        library.emit(graph, {"more": np.zeros(1)}, file)
    assert not file.exists()


@dataclass(frozen=True)
class Unknown(ops.Op):
    """An operation that no backend has a rule for."""

    kind = "scratch_unknown"


def test_an_operation_that_torch_lacks_is_told_at_its_row(tmp_path: Path) -> None:
    graph = sample(lambda net, x: net.add("op", Unknown(), x))
    with pytest.raises(archc.SpecError) as caught:
        archc.export(graph, tmp_path / "net.pte", state={})
    (found,) = caught.value.diagnostics
    assert found.id == "unsupported-op"
    assert found.message == "the executorch backend has no `scratch_unknown`, which row `a.0` needs"


def test_the_range_that_an_activation_can_tell_apart() -> None:
    from archc.backends.executorch.int8 import felt

    low, high = felt(torch.nn.Hardswish(), Scale(2.375 / 255, -88))
    assert -3 <= low < -2.9
    assert 2.26 < high < 2.28, "hardswish(2.275) is 2, the largest number that the result can hold"
    low, high = felt(torch.nn.LeakyReLU(0.01), Scale(3 / 255, -43))  # from -1 to 2
    assert -102 < low < -98
    assert 1.9 < high < 2.05
    low, high = felt(torch.nn.Sigmoid(), Scale(1 / 255, -128))
    assert -7 < low < -5.5
    assert 5.5 < high < 7


def test_weights_in_int8_are_rounded_to_the_nearest_and_symmetric() -> None:
    from archc.backends.executorch.int8 import quantized_weight

    weight = torch.tensor([[1.0, -1.0, 0.26], [127.4, -200.0, 0.5]])
    assert quantized_weight(weight, (1 / 127, 1.0)).tolist() == [[127, -127, 33], [127, -127, 0]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilevit_xxs", "lraspp_mnv3_large", "efficientnet_lite0"])
def test_float_is_torchs(name: str, tmp_path: Path) -> None:
    one = net(name)
    session = open_file(export(one, tmp_path))
    for batch in (1, 3):
        x = images(batch, batch)
        assert worst(session.run(x), in_torch(*one, x)) < CLOSE


@pytest.mark.slow
def test_a_batch_that_is_stated(tmp_path: Path) -> None:
    one = net("mnv3_small")
    session = open_file(export(one, tmp_path, batch=2))
    assert session.input.shape == (2, 3, 64, 64)
    assert worst(session.run(images(2)), in_torch(*one, images(2))) < CLOSE
    with pytest.raises(ValueError, match="images of 2×3×64×64, not float32 ones of 1×3×64×64"):
        session.run(images(1))


@pytest.mark.slow
def test_pixels_in_float16(tmp_path: Path) -> None:
    one = net("mobilevit_xxs")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    graph, state = apply(one.graph, one.state, ["preprocess"])
    assert state is not None
    session = open_file(export(one, tmp_path, preprocess=True, precision="f16"))
    assert session.input.dtype == "uint8"
    assert 1e-5 < worst(session.run(pixels), in_torch(graph, state, pixels)) < 0.02


def short(net: Builder, x: Node, act: str = "relu6") -> Node:
    """A few layers with a padded convolution, a depthwise one, an addition and a gate."""
    stem = net.add(
        "stem_act", ops.Activation(act), net.add("stem", ops.Conv(16, (3, 3), 2, bias=True, padding="same"), x)
    )
    deep = net.add("deep_act", ops.Activation(act), net.add("deep", ops.Conv(16, (3, 3), groups=16, bias=True), stem))
    both = net.add("sum", ops.Add(), net.add("project", ops.Conv(16, bias=True), deep), stem)
    pool = net.add("pool", ops.GlobalPool(), both)
    gated = net.add("gate", ops.Gate(), both, net.add("factors", ops.Activation("hardsigmoid"), pool))
    flat = net.add("flat", ops.Flatten(), net.add("pool2", ops.GlobalPool(), gated))
    return net.add("op", ops.Linear(7), flat)


@pytest.mark.slow
@pytest.mark.parametrize(("act", "steps"), [("relu6", 1), ("hardswish", 3)])
def test_int8_is_what_the_ranges_say(act: str, steps: int, tmp_path: Path) -> None:
    """XNNPACK rounds some sums the other way. It holds what a hard-swish reads in int8, too."""
    graph = sample(lambda net, x: short(net, x, act))
    state, file = initial(graph), tmp_path / "net.pte"
    many, x = (np.random.default_rng(seed).standard_normal((4, 6, 8, 12), dtype=np.float32) for seed in (0, 1))
    found = quantization(graph, state, many)
    emitter("executorch").emit(graph, state, file, Form("int8", quantization=found))
    wanted = reference(graph, state, x, found)["a"]
    differences = np.abs(open_file(file).run(x)["a"] - wanted) / found.values["a.0.op"].scale.scale
    assert len(np.unique(wanted)) > 10
    assert differences.max() <= steps + 0.01
    assert differences.mean() < steps / 2


@pytest.mark.slow
def test_a_network_in_int8(tmp_path: Path) -> None:
    """A network of many layers amplifies what is rounded differently: its scores are close, and no more."""
    one = net("efficientnet_lite0")
    found = quantization(one.graph, one.state, images(4))
    file = export(one, tmp_path, precision="int8", quantization=found)
    session = open_file(file)
    for batch in (1, 3):
        x = images(batch, batch + 1)
        assert cosine(session.run(x)["head"], reference(one.graph, one.state, x, found)["head"]) > 0.98
    weights = sum(value.size for value in one.state.values())
    assert file.stat().st_size < 2 * weights, "one byte for each number, and the program"


@pytest.mark.slow
def test_int8_with_activations_and_gates_that_xnnpack_does_not_fuse(tmp_path: Path) -> None:
    one = net("mnv3_small")
    found = quantization(one.graph, one.state, images(4))
    x = images(3, 5)
    session = open_file(export(one, tmp_path, precision="int8", quantization=found))
    assert cosine(session.run(x)["head"], reference(one.graph, one.state, x, found)["head"]) > 0.98


@pytest.mark.slow
def test_nothing_is_said_while_a_file_is_written_and_opened(tmp_path: Path) -> None:
    program = f"""
import archc
archc.export("mnv3_small", {str(tmp_path / "net.pte")!r}, seed=0, overrides={SMALL!r}, batch=1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
