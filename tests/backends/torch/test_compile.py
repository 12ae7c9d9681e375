"""`archc.compile`: what it returns computes what the model computes, and the model stays as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import archc
from archc.backends.protocol import raw

SMALL = ["width_mult=0.25", "input.size=64", "num_classes=10"]


def model(name: str = "mnv3_small", *overrides: str) -> nn.Module:
    built = archc.build(archc.load(name, [*SMALL, *overrides]), seed=0)
    with torch.no_grad():
        for layer in built.modules():
            if isinstance(layer, nn.BatchNorm2d):  # statistics of a trained network, so that folding them matters
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 1.5)
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.1)
    return built


def images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(batch))


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    assert found.shape == wanted.shape
    assert found.dtype == torch.float32
    return float((found - wanted.detach()).abs().max() / wanted.detach().abs().max())


@pytest.fixture(autouse=True)
def nothing_compiled_is_left() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.mark.slow
def test_it_computes_the_same_for_every_batch_and_leaves_the_model_alone() -> None:
    network = model()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    made = archc.compile(network)
    assert network.training
    assert not made.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in made.modules())
    network.eval()
    for batch in (1, 3):
        found = made(images(batch))
        assert not found.requires_grad
        assert relative(found, network(images(batch))) < 1e-5
    assert torch._inductor.config.freezing is False, "the settings of the process are the user's"


@pytest.mark.slow
def test_bf16_takes_and_returns_32_bit_floats() -> None:
    network = model()
    found = archc.compile(network, precision="bf16")(images(2))
    assert 0 < relative(found, network.eval()(images(2))) < 0.05


@pytest.mark.slow
def test_a_network_with_attention_and_one_with_several_outputs() -> None:
    attention = model("mobilevit_xxs")
    assert relative(archc.compile(attention)(images(1)), attention.eval()(images(1))) < 1e-5
    levels = archc.build(raw(archc.lower(archc.load("ssdlite320_mnv3_large", ["width_mult=0.25"]))), seed=0)
    x = torch.randn(1, 3, 320, 320)
    found, wanted = archc.compile(levels)(x), levels.eval()(x)
    assert list(found) == list(wanted)
    assert all(relative(found[name], wanted[name]) < 1e-5 for name in wanted)


@pytest.mark.slow
def test_pixels() -> None:
    network = archc.build(archc.load("mnv3_small", SMALL), seed=0, transforms=["inference", "preprocess"])
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert relative(archc.compile(network)(pixels), network.eval()(pixels)) < 1e-5


def test_it_stays_in_evaluation_mode() -> None:
    made = archc.compile(model())
    assert made.eval() is made
    with pytest.raises(ValueError, match="train the one that it was made from"):
        made.train()


def test_what_it_does_not_take() -> None:
    with pytest.raises(ValueError, match="`precision` must be `f32` or `bf16`, not 'int8'"):
        archc.compile(model(), precision="int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes a torch module that archc built, not a `str`"):
        archc.compile("mnv3_small")  # type: ignore[arg-type]
    with pytest.raises(archc.WeightsError, match="this `Linear` was not built by archc"):
        archc.compile(nn.Linear(2, 2))
    changed = model()
    changed.head[-1] = nn.Linear(256, 3)  # type: ignore[index]
    with pytest.raises(archc.WeightsError, match="changed"):
        archc.compile(changed)
    with pytest.raises(ValueError, match="a detector's boxes are not compiled"):
        archc.compile(archc.build("ssdlite320_mnv3_large", seed=0))


@pytest.mark.slow
def test_keras_is_refused() -> None:
    with pytest.raises(ValueError, match=r"takes a torch module that archc built, not a `\w+`"):
        archc.compile(archc.build(archc.load("mnv3_small", SMALL), backend="keras"))


@pytest.mark.slow
def test_without_a_compiler(tmp_path: Path) -> None:
    program = f"""
import archc
try:
    archc.compile(archc.build(archc.load("mnv3_small", {SMALL!r}), seed=0))
except RuntimeError as error:
    print(error)
"""
    environment = {**os.environ, "PATH": str(tmp_path), "CXX": "", "TORCH_INDUCTOR_INSTALL_GXX": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "torch.compile needs a C++ compiler, and finds none" in done.stdout
