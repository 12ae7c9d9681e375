"""Weights from one backend's network into another's, every tensor by what the IR says of it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torchvision.models as tv
from safetensors.torch import load_file

import archc
from archc.weights.error import WeightsError
from tests.backends.torch.peers import shake

GROUPS = {
    "name": "groups",
    "input": {"size": 12},
    "stages": {
        "a": [{"block": "conv", "out": 6, "kernel": [3, 5], "bias": True}],
        "b": [{"block": "conv", "out": 18, "kernel": [5, 3], "groups": "depthwise"}],  # three per channel
        "c": [{"block": "conv", "out": 12, "groups": 3, "norm": "none"}, {"block": "dropout", "rate": 0.1}],
        "d": [{"block": "pool"}, {"block": "linear", "out": 7}],
    },
}


def same(first: Any, second: Any) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("spec", [GROUPS, "mobilevit_xxs", "lraspp_mnv3_large"], ids=["groups", "vit", "lraspp"])
def test_there_and_back_is_exact(spec: Any) -> None:
    module = shake(archc.build(spec, seed=0)).eval()
    model = archc.build(spec, backend="keras", seed=1)
    report = archc.copy_weights(module, model)
    assert report.params == archc.report(spec).params
    norms = sum(name.endswith("num_batches_tracked") for name in module.state_dict())
    assert sum(name.endswith("num_batches_tracked") for name in report.skipped) == norms
    assert sum(name.endswith("seed_generator_state") for name in report.skipped) == len(report.skipped) - norms
    assert report.tensors == len(module.state_dict()) - norms == len(model.weights)
    back = archc.build(spec, device="meta")
    archc.copy_weights(model, back)
    assert same(module, back)
    image = torch.randn(2, *archc.lower(archc.load(spec)).input.shape)[:, :, :64, :64]
    expected = module(image)
    expected = next(iter(expected.values())) if isinstance(expected, dict) else expected
    actual = model.predict_on_batch(image.permute(0, 2, 3, 1).numpy())
    actual = next(iter(actual.values())) if isinstance(actual, dict) else actual
    actual = torch.from_numpy(np.array(actual))
    actual = actual.permute(0, 3, 1, 2) if actual.ndim == 4 else actual
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


def test_within_a_backend_and_into_other_types() -> None:
    module = shake(archc.build("mnv3_small", seed=0))
    half = archc.build("mnv3_small", dtype=torch.bfloat16, seed=1)
    archc.copy_weights(module, half)
    assert torch.equal(half.c4[0].expand.conv.weight, module.c4[0].expand.conv.weight.bfloat16())
    first = archc.build("mnv3_small", backend="keras", dtype="bfloat16", seed=1)
    archc.copy_weights(half, first)
    second = archc.build("mnv3_small", backend="keras", seed=2)
    archc.copy_weights(first, second)
    again = archc.build("mnv3_small", seed=3)
    archc.copy_weights(second, again)
    assert torch.equal(again.head[1].linear.weight, half.head[1].linear.weight.float())


def test_a_published_checkpoint_reaches_keras_and_comes_back(tmp_path: Path) -> None:
    peer = shake(tv.mobilenet_v3_small()).eval()
    model = archc.build("mnv3_small", backend="keras", seed=0)
    report = archc.load_weights(model, peer.state_dict())
    assert (report.source, report.params) == ("torchvision", 2_542_856)
    image = torch.randn(2, 3, 96, 96)
    actual = torch.from_numpy(model.predict_on_batch(image.permute(0, 2, 3, 1).numpy()))
    with torch.no_grad():
        expected = peer(image)
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()

    archc.save_weights(model, tmp_path / "back.safetensors", "torchvision")
    back = load_file(tmp_path / "back.safetensors")
    state = {k: v for k, v in peer.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert all(torch.equal(back[name], value) for name, value in state.items())

    model.save(tmp_path / "model.keras")
    module = archc.build("mnv3_small", device="meta")
    loaded = archc.load_weights(module, tmp_path / "model.keras")
    assert (loaded.params, loaded.file) == (2_542_856, "model.keras")
    with torch.no_grad():
        assert torch.equal(module.eval()(image), archc_of(peer, image))


def archc_of(peer: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    module = archc.build("mnv3_small", device="meta")
    archc.load_weights(module, peer.state_dict())
    result: torch.Tensor = module.eval()(image)
    return result


def test_a_new_head_is_left_alone() -> None:
    source = shake(archc.build("mnv3_small", seed=0))
    spec = archc.load("mnv3_small", ["num_classes=10"])
    model = archc.build(spec, backend="keras", seed=1)
    head = keras.ops.convert_to_numpy(model.get_layer("head_3_linear").kernel)
    with pytest.raises(WeightsError, match="2 tensors differ"):
        archc.copy_weights(source, model)
    report = archc.copy_weights(source, model, partial="head")
    assert set(report.left) == {f"head.{row}.linear.{name}" for row in (1, 3) for name in ("weight", "bias")}
    assert np.array_equal(keras.ops.convert_to_numpy(model.get_layer("head_3_linear").kernel), head)
    stem = keras.ops.convert_to_numpy(model.get_layer("stem_0_conv").kernel)
    assert np.array_equal(stem.transpose(3, 2, 0, 1), source.stem[0].conv.weight.detach().numpy())
    other = archc.build(spec, backend="keras", seed=2)
    archc.load_weights(other, source.state_dict(), partial=["head.3"])
    assert np.array_equal(keras.ops.convert_to_numpy(other.get_layer("stem_0_conv").kernel), stem)


def test_what_does_not_fit_is_told_and_nothing_is_touched() -> None:
    model = archc.build("mnv3_small", backend="keras", seed=0)
    before = model.get_weights()
    with pytest.raises(WeightsError) as caught:
        archc.copy_weights(archc.build("mnv3_large", seed=0), model)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.id == "weights-mismatch"
    assert "in the source" in diagnostic.notes[0]
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises(WeightsError, match="not built by archc"):
        archc.copy_weights(tv.mobilenet_v3_small(), model)
    foreign = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(WeightsError, match="neither network"):
        archc.copy_weights(foreign, foreign)
    with pytest.raises(WeightsError, match="is not what its spec says"):
        archc.copy_weights(model, foreign)
    with pytest.raises(WeightsError, match="does not know its spec"):
        archc.load_weights(foreign, tv.mobilenet_v3_small().state_dict())
    changed = archc.build("mnv3_small", seed=0)
    changed.head[3].linear = torch.nn.Linear(1024, 5)
    with pytest.raises(WeightsError, match=r"`head\.3\.linear\.weight` is not what its spec says"):
        archc.copy_weights(changed, model)


def test_a_model_from_a_file_takes_and_gives_weights(tmp_path: Path) -> None:
    model = archc.build("mnv3_small", backend="keras", seed=0)
    model.save(tmp_path / "a.keras")
    plain = keras.saving.load_model(tmp_path / "a.keras")
    module = archc.build("mnv3_small", seed=1)
    archc.copy_weights(plain, module)
    archc.copy_weights(module, pickle.loads(pickle.dumps(plain)))
    archc.copy_weights(module, model)
    assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), model.get_weights(), strict=True))


def test_values_are_copied_not_shared() -> None:
    module = archc.build(GROUPS, seed=0)
    model = archc.build(GROUPS, backend="keras", seed=1)
    archc.copy_weights(module, model)
    before = model.get_weights()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
