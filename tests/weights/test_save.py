"""Weights out: into archc's own file and into other libraries' names, and back."""

from __future__ import annotations

import copy
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import timm
import torch
import torchvision.models as tv
import yaml
from safetensors.torch import load_file
from torch import nn

import archc
from archc.weights.error import WeightsWarning
from tests.backends.torch.peers import shake

EXPORTS: dict[str, tuple[str, list[str], str, Callable[[], nn.Module] | None]] = {
    "small": ("mnv3_small", [], "torchvision", lambda: tv.mobilenet_v3_small()),
    "large 0.75": ("mnv3_large", ["width_mult=0.75"], "torchvision", lambda: tv.mobilenet_v3_large(width_mult=0.75)),
    "v2": ("mobilenet_v2", [], "torchvision", lambda: tv.mobilenet_v2()),
    "v2 timm": ("mobilenet_v2", [], "timm", lambda: timm.create_model("mobilenetv2_100")),
    "resnet50": ("resnet50", [], "torchvision", lambda: tv.resnet50()),
    "resnet50 timm": ("resnet50", [], "timm", lambda: timm.create_model("resnet50")),
    "timm small": ("timm_mnv3_small", ["width_mult=0.5"], "timm", lambda: timm.create_model("mobilenetv3_small_050")),
    "timm's in torchvision's": ("timm_mnv3_small", [], "torchvision", lambda: tv.mobilenet_v3_small()),
    "torchvision's in timm's": ("mnv3_small", [], "timm", lambda: timm.create_model("mobilenetv3_small_100")),
    "mobilevit": ("mobilevit_xxs", [], "timm", lambda: timm.create_model("mobilevit_xxs")),
    "mobilevit transformers": ("mobilevit_xxs", [], "transformers", None),
    "mobilevit cvnets": ("mobilevit_xxs", [], "cvnets", None),
    "lite0": ("efficientnet_lite0", [], "efficientnet_lite", None),
    "lite0 timm": ("efficientnet_lite0", [], "timm", lambda: timm.create_model("tf_efficientnet_lite0")),
    "own": ("mobilevit_xs", [], "archc", None),
}

Through = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize("name", EXPORTS)
def test_out_and_back_is_exact_and_the_library_takes_it(name: str, tmp_path: Path) -> None:
    spec, overrides, names, make = EXPORTS[name]
    model = shake(archc.build(archc.load(spec, overrides), seed=0))
    path = tmp_path / "weights.safetensors"
    written = archc.save_weights(model, path, names)
    assert set(written) == set(load_file(path))
    if make is not None:
        make().load_state_dict(load_file(path), strict=True)
    again = archc.build(archc.load(spec, overrides), device="meta")
    report = archc.load_weights(again, path)
    assert report.source in (names, "torchvision")  # ResNet's names are the same in both
    expected = model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())


def test_the_transformers_library_takes_it(tmp_path: Path) -> None:
    from tests.weights.test_parity import transformers_mobilevit

    peer = transformers_mobilevit("mobilevit_xxs")
    archc.save_weights(archc.build("mobilevit_xxs"), tmp_path / "a.safetensors", "transformers")
    peer.load_state_dict(load_file(tmp_path / "a.safetensors"), strict=True)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    archc.save_weights(archc.build(archc.load("mnv3_small", ["width_mult=0.5"])), path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["archc_version"] == archc.__version__
    spec = archc.load(yaml.safe_load(metadata["archc_spec"]))
    assert archc.lower(spec) == archc.lower(archc.load("mnv3_small", ["width_mult=0.5"]))
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == stat.S_IMODE(_touched(tmp_path).stat().st_mode) & 0o044


def _touched(directory: Path) -> Path:
    path = directory / "plain"
    path.touch()
    return path


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("mine")
    model = archc.build("mnv3_small")
    with pytest.raises(archc.WeightsError) as caught:
        archc.save_weights(model, path)
    assert caught.value.diagnostics[0].id == "weights-exists"
    assert path.read_text() == "mine"
    archc.save_weights(model, path, overwrite=True)
    assert archc.load_weights(model, path).tensors == 244
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    model = archc.build("mobilevit_xxs")
    with pytest.raises(archc.WeightsError, match="no network like `mobilevit_xxs`") as caught:
        archc.save_weights(model, tmp_path / "a.safetensors", "torchvision")
    assert caught.value.diagnostics[0].id == "weights-names"
    with pytest.raises(archc.WeightsError, match="did you mean `timm`"):
        archc.save_weights(model, tmp_path / "a.safetensors", "tim")
    with pytest.raises(archc.WeightsError, match=r"does not end in `\.safetensors`"):
        archc.save_weights(model, tmp_path / "a.pth")
    with pytest.raises(archc.WeightsError, match="meta device"):
        archc.save_weights(archc.build("mnv3_small", device="meta"), tmp_path / "a.safetensors")
    model.get_submodule("head.2").linear = nn.Linear(320, 3)
    with pytest.raises(archc.WeightsError, match="was changed"):
        archc.save_weights(model, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("through", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_or_pickled_module_still_knows_its_names(through: Through, tmp_path: Path) -> None:
    last = torch.channels_last
    model = through(archc.build("timm_mnv3_small", seed=0).to(memory_format=last))  # type: ignore[call-overload]
    archc.save_weights(model, tmp_path / "a.safetensors", "timm")
    again = archc.build("timm_mnv3_small", device="meta")
    archc.load_weights(again, tmp_path / "a.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    with pytest.raises(archc.WeightsError, match=r"fits with `width_mult=0.5`"):
        archc.load_weights(model, archc.build(archc.load("timm_mnv3_small", ["width_mult=0.5"])).state_dict())


def test_the_graph_is_neither_in_the_state_dict_nor_in_print() -> None:
    model = archc.build("mnv3_small")
    assert not any("graph" in name for name in model.state_dict())
    assert "graph" not in str(model)


def test_a_file_of_another_spec_of_ones_own_says_what_differs(tmp_path: Path) -> None:
    changes = ["stages.c4.1.heads=2", "stages.c4.1.depth=1", "dropout=0.3"]
    archc.save_weights(archc.build(archc.load("mobilevit_xxs", changes)), tmp_path / "a.safetensors")
    with pytest.raises(archc.WeightsError) as caught:
        archc.load_weights(archc.build("mobilevit_xxs"), tmp_path / "a.safetensors")
    help = caught.value.diagnostics[0].help
    assert "it was saved from `mobilevit_xxs`, whose spec is in the file and differs: dropout=0.3, row c4.1" in help


def test_the_spec_in_a_file_knows_the_policy_better_than_a_librarys_name(tmp_path: Path) -> None:
    model = archc.build("timm_mnv3_small")
    archc.save_weights(model, tmp_path / "a.safetensors", "torchvision")
    assert archc.load_weights(model, tmp_path / "a.safetensors").warnings == ()
    other = archc.build("mnv3_small")
    with pytest.warns(WeightsWarning) as caught:
        archc.load_weights(other, tmp_path / "a.safetensors")
    assert "1e-05 in `timm_mobilenet_v3_small`" in str(caught[0].message)
