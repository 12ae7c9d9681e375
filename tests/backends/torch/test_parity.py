"""Compiled modules against the installed torchvision and timm: same weights in, same numbers out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision.models as tv
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import archc

from .peers import copy_in_order, gradients, shake

BIT_IDENTICAL: dict[str, tuple[str, list[str], Callable[[], nn.Module], int]] = {
    "large": ("mnv3_large", [], lambda: tv.mobilenet_v3_large(), 224),
    "small": ("mnv3_small", [], lambda: tv.mobilenet_v3_small(), 224),
    "large 0.75": ("mnv3_large", ["width_mult=0.75"], lambda: tv.mobilenet_v3_large(width_mult=0.75), 224),
    "small 0.35": ("mnv3_small", ["width_mult=0.35"], lambda: tv.mobilenet_v3_small(width_mult=0.35), 224),
    "large tail": ("mnv3_large", ["reduced_tail=true"], lambda: tv.mobilenet_v3_large(reduced_tail=True), 224),
    "large dilated": ("mnv3_large", ["dilated=true"], lambda: tv.mobilenet_v3_large(dilated=True), 224),
    # Here input and output of the dilated row agree, and torchvision still gives it no residual.
    "small tail dilated": (
        "mnv3_small",
        ["reduced_tail=true", "dilated=true"],
        lambda: tv.mobilenet_v3_small(reduced_tail=True, dilated=True),
        224,
    ),
    "v2": ("mobilenet_v2", [], lambda: tv.mobilenet_v2(), 224),
    "v2 1.4": ("mobilenet_v2", ["width_mult=1.4"], lambda: tv.mobilenet_v2(width_mult=1.4), 224),
    "resnet50": ("resnet50", [], lambda: tv.resnet50(), 224),
    "resnet50 stride 8": (
        "resnet50",
        ["output_stride=8"],
        lambda: tv.resnet50(replace_stride_with_dilation=[False, True, True]),
        64,
    ),
}

CLOSE: dict[str, tuple[str, list[str], Callable[[], nn.Module], int]] = {
    "mobilevit_s": ("mobilevit_s", [], lambda: timm.create_model("mobilevit_s"), 256),
    "mobilevit_xs": ("mobilevit_xs", [], lambda: timm.create_model("mobilevit_xs"), 256),
    "mobilevit_xxs": ("mobilevit_xxs", [], lambda: timm.create_model("mobilevit_xxs"), 256),
    "timm large": ("timm_mnv3_large", [], lambda: timm.create_model("mobilenetv3_large_100"), 224),
    "timm large 0.75": (
        "timm_mnv3_large",
        ["width_mult=0.75"],
        lambda: timm.create_model("mobilenetv3_large_075"),
        224,
    ),
    "timm small 0.5": (
        "timm_mnv3_small",
        ["width_mult=0.5"],
        lambda: timm.create_model("mobilenetv3_small_050"),
        224,
    ),
    "lite0": ("efficientnet_lite0", [], lambda: timm.create_model("tf_efficientnet_lite0"), 224),
}


def pair(case: tuple[str, list[str], Callable[[], nn.Module], int]) -> tuple[nn.Module, nn.Module]:
    spec, overrides, make, _ = case
    torch.manual_seed(0)
    peer = shake(make())
    ours = archc.build(archc.load(spec, overrides))
    copy_in_order(peer, ours)
    return ours.eval(), peer.eval()


@pytest.mark.parametrize("name", BIT_IDENTICAL)
def test_outputs_are_bit_identical_to_torchvision(name: str) -> None:
    case = BIT_IDENTICAL[name]
    ours, peer = pair(case)
    for height, width in [(case[3], case[3]), (201, 163)]:
        image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected, actual = peer(image), ours(image)
        assert torch.isfinite(expected).all()
        assert expected.std() > 0
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("name", CLOSE)
def test_outputs_equal_timms_to_rounding(name: str) -> None:
    case = CLOSE[name]
    ours, peer = pair(case)
    for height, width in [(case[3], case[3]), (202, 291)]:
        image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected, actual = peer(image), ours(image)
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_named_taps_are_torchvisions_features() -> None:
    taps = {"high": "features.16", "inner": "features.13.block.0", "low": "features.4"}
    peer = tv.mobilenet_v3_large()
    ours = archc.build(archc.load("mnv3_large", ["outputs={high: c5, inner: c5.0.expand, low: c3.0}"]))
    archc.load_weights(ours, shake(peer).state_dict())
    extractor = create_feature_extractor(peer.eval(), {layer: name for name, layer in taps.items()})
    image = torch.randn(2, 3, 129, 200, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, actual = extractor(image), ours.eval()(image)
    assert list(actual) == list(taps), "in the order in which they were asked for"
    assert all(torch.equal(actual[name], expected[name]) for name in taps)


@pytest.mark.parametrize("name", ["large", "small tail dilated", "v2", "resnet50"])
def test_training_step_gradients_equal_torchvisions(name: str) -> None:
    ours, peer = pair(BIT_IDENTICAL[name])
    compare_gradients(ours, peer, size=96)


@pytest.mark.parametrize("name", ["mobilevit_xxs", "timm small 0.5"])
def test_training_step_gradients_equal_timms(name: str) -> None:
    ours, peer = pair(CLOSE[name])
    compare_gradients(ours, peer, size=98)


def compare_gradients(ours: nn.Module, peer: nn.Module, size: int) -> None:
    # Training mode with dropout off on both sides: batch statistics are used, and updated alike.
    for module in (*ours.modules(), *peer.modules()):
        module.train()
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    generator = torch.Generator().manual_seed(2)
    image, labels = torch.randn(4, 3, size, size, generator=generator), torch.tensor([1, 20, 300, 7])
    expected, actual = gradients(peer, image, labels), gradients(ours, image, labels)
    scale = max(gradient.abs().max() for gradient in expected)
    for theirs, mine in zip(expected, actual, strict=True):
        assert torch.allclose(mine.reshape(theirs.shape), theirs, rtol=1e-3, atol=1e-5 * float(scale))
    for (name, mine), theirs in zip(ours.named_buffers(), peer.buffers(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5), name
