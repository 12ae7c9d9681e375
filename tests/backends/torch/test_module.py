"""A compiled module is an ordinary `nn.Module`: everything that torch's users do with one works."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import archc
from archc.backends.torch.modules import SameConv2d

from .peers import shake

NETWORKS = {"mnv3_small": 96, "mobilevit_xxs": 96, "resnet50": 64, "efficientnet_lite0": 75}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    module = shake(archc.build(request.param, seed=0)).eval()
    size = NETWORKS[request.param]
    return module, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_same_up_to_rounding(actual: Tensor, expected: Tensor) -> None:
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_pickle(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    again = pickle.loads(pickle.dumps(module))
    assert torch.equal(again(image), module(image))
    assert type(again) is type(module)
    assert repr(again) == repr(module)


def test_torch_save_and_load(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(image), module(image))


def test_a_pickle_loads_in_another_process(tmp_path: Path) -> None:
    module = archc.build("mnv3_small", seed=0).eval()
    image = torch.ones(1, 3, 64, 64)
    torch.save((module, image, module(image)), tmp_path / "module.pt")
    program = (
        "import sys, torch\n"
        "module, image, expected = torch.load(sys.argv[1], weights_only=False)\n"
        "assert torch.equal(module(image), expected)\n"
        "print(type(module).__name__)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "module.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "MobilenetV3Small", done.stderr


def test_layers_are_torchs_own(network: tuple[nn.Module, Tensor]) -> None:
    """Not classes like them, and nothing is left of how they were made without being initialised."""
    module, _ = network
    kinds = {type(layer) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)}
    assert {nn.Conv2d, nn.BatchNorm2d, nn.Linear} <= kinds <= {nn.Conv2d, nn.BatchNorm2d, nn.Linear, SameConv2d}
    assert not any("reset_parameters" in vars(layer) for layer in module.modules())
    layer = copy.deepcopy(next(layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)))
    layer.reset_parameters()
    assert torch.equal(layer.weight, torch.ones_like(layer.weight))


def test_deepcopy_is_independent(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    before = module(image)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(image), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(module(image), before)


def test_state_dict_round_trip(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    fresh = copy.deepcopy(module)
    shake(fresh, seed=5)
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(image), module(image))


def test_export_static(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    exported = torch.export.export(module, (image,)).module()
    torch.testing.assert_close(exported(image), module(image))


def test_export_dynamic_batch(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(module, (image,), dynamic_shapes=({0: batch},)).module()
    more = torch.cat([image, image + 1, image - 1])
    assert_same_up_to_rounding(exported(more), module(more))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnv3_small", "mobilevit_xxs"])
def test_compile(name: str) -> None:
    module = shake(archc.build(name, seed=0)).eval()
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True)
        assert_same_up_to_rounding(compiled(image), module(image))


def test_compile_captures_one_graph(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(image), module(image))
    torch._dynamo.reset()


def test_channels_last(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    last = copy.deepcopy(module).to(memory_format=torch.channels_last)
    assert_same_up_to_rounding(last(image.to(memory_format=torch.channels_last)), module(image))


def test_autocast(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        output = module(image)
    expected = module(image)
    assert output.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(output.float(), expected, dim=1).min() > 0.99


def test_double_precision(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    assert copy.deepcopy(module).double()(image.double()).dtype == torch.float64


def test_any_batch_and_size(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    for batch, height, width in [(1, 64, 64), (3, 97, 130)]:
        assert module(torch.randn(batch, 3, height, width)).shape == (batch, 1000)
    both = module(image)
    assert_same_up_to_rounding(torch.cat([module(image[:1]), module(image[1:])]), both)


def test_train_and_eval_differ_only_while_training(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    module = copy.deepcopy(module)
    before = module(image)
    module.train()
    torch.manual_seed(0)
    assert not torch.equal(module(image), before)  # batch statistics, and dropout where there is any
    assert all(int(b) == 1 for name, b in module.named_buffers() if name.endswith("num_batches_tracked"))


def test_meta_device_allocates_nothing() -> None:
    module = archc.build("mobilevit_s", device="meta")
    assert {p.device.type for p in (*module.parameters(), *module.buffers())} == {"meta"}
    assert module(torch.empty(2, 3, 256, 256, device="meta")).shape == (2, 1000)


def test_dtype() -> None:
    module = archc.build("mnv3_small", dtype=torch.bfloat16, seed=0)
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", NETWORKS)
def test_same_seed_same_weights(name: str) -> None:
    first, again, other = (archc.build(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_the_global_seed_counts_where_none_is_given() -> None:
    torch.manual_seed(7)
    first = archc.build("mnv3_small").state_dict()
    torch.manual_seed(7)
    again = archc.build("mnv3_small").state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    # A seed leaves the global generator alone.
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    archc.build("mnv3_small", seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_reads_like_written_code() -> None:
    module = archc.build("mnv3_small", device="meta")
    assert type(module).__name__ == "MobilenetV3Small"
    assert type(module.c4[1]).__name__ == "InvertedResidual"
    assert isinstance(module.c4, nn.Sequential)
    assert "c4.0.depthwise.conv.weight" in module.state_dict()
    assert inspect.getsource(module.c4[1].forward) == (
        "def forward(self, x):\n"
        "    y = self.expand(x)\n"
        "    y = self.depthwise(y)\n"
        "    y = self.squeeze(y)\n"
        "    y = self.project(y)\n"
        "    y += x\n"
        "    return y\n"
    )
    forward = inspect.getsource(module.forward)
    assert forward.splitlines()[1:3] == ["    x = self.stem(x)", "    x = self.c2(x)"]


def test_several_outputs_come_as_a_dict_in_order() -> None:
    module = archc.build(archc.load("mnv3_small", ["outputs=[c5,c3,c4]"]), seed=0).eval()
    outputs = module(torch.zeros(1, 3, 64, 64))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "c5": (1, 576, 2, 2),
        "c3": (1, 24, 8, 8),
        "c4": (1, 48, 4, 4),
    }
    assert list(outputs) == ["c5", "c3", "c4"]
    assert not any(name.startswith("head") for name, _ in module.named_parameters())


def test_taps_inside_rows_and_stages_give_the_values_that_hooks_see() -> None:
    wanted = {"early": "c3.0", "inside": "c5.0.expand", "whole": "c5"}
    spec = archc.load("mnv3_small")
    plain = shake(archc.build(spec, seed=0)).eval()
    tapped = archc.build(spec.override(outputs=wanted), seed=0).eval()
    tapped.load_state_dict({k: v for k, v in plain.state_dict().items() if k in tapped.state_dict()})
    seen: dict[str, Tensor] = {}
    for name, path in wanted.items():
        plain.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, output.clone())
        )
    image = torch.randn(1, 3, 96, 96)
    plain(image)
    outputs = tapped(image)
    assert list(outputs) == list(wanted)
    for name, value in outputs.items():
        assert torch.equal(value, seen[name]), name
    assert torch.equal(pickle.loads(pickle.dumps(tapped))(image)["inside"], seen["inside"])


def test_names_that_torch_has_taken() -> None:
    rows = [{"block": "conv", "out": 4}]
    spec = archc.load({"name": "clash", "input": {"size": 8}, "stages": {"train": rows, "forward": rows, "half": rows}})
    module = archc.build(spec, seed=0)
    assert module(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 8, 8)
    assert sum(p.numel() for p in module.parameters()) == archc.report(spec).params
    assert "train_.0.conv.weight" in module.state_dict()


def test_gradients_reach_every_parameter(network: tuple[nn.Module, Tensor]) -> None:
    module, image = network
    module = copy.deepcopy(module).train()
    module(image).square().mean().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []
