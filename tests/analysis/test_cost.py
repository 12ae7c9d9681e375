"""Static parameters and MACs against the peers' modules under torch's own counter: equal, not close."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import timm
import torch
import torchvision.models as tv
from torch import nn

import archc

from .counters import macs, parameters

SIZES = (224, 193)


def assert_priced_like(peer: nn.Module, spec: str, overrides: list[str], sizes: tuple[int, ...]) -> None:
    loaded = archc.load(spec, overrides)
    for size in sizes:
        report = archc.report(loaded.override({"input.size": size}))
        assert report.params == parameters(peer)
        assert report.macs == macs(peer, size)
        assert sum(layer.params for layer in report.layers) == report.params
        assert sum(layer.macs for layer in report.layers) == report.macs


@pytest.mark.parametrize(
    ("size", "width", "tail", "dilated"),
    list(product(["large", "small"], [0.35, 0.5, 0.75, 1.0, 1.25], [0, 1], [0, 1])),
)
def test_mobilenet_v3(size: str, width: float, tail: int, dilated: int) -> None:
    with torch.device("meta"):
        make = getattr(tv, f"mobilenet_v3_{size}")
        peer = make(width_mult=width, reduced_tail=bool(tail), dilated=bool(dilated))
    overrides = [f"width_mult={width}", f"reduced_tail={bool(tail)}", f"dilated={bool(dilated)}"]
    assert_priced_like(peer, f"mnv3_{size}", overrides, SIZES)


TORCHVISION: dict[str, tuple[Callable[[], nn.Module], str, list[str]]] = {
    "mobilenet_v2": (tv.mobilenet_v2, "mobilenet_v2", []),
    "mobilenet_v2 0.35": (lambda: tv.mobilenet_v2(width_mult=0.35), "mobilenet_v2", ["width_mult=0.35"]),
    "mobilenet_v2 1.4": (lambda: tv.mobilenet_v2(width_mult=1.4), "mobilenet_v2", ["width_mult=1.4"]),
    "resnet50": (tv.resnet50, "resnet50", []),
    "resnet101": (tv.resnet101, "resnet50", ["stages.c4.0.repeat=23"]),
    "resnet152": (tv.resnet152, "resnet50", ["stages.c3.0.repeat=8", "stages.c4.0.repeat=36"]),
    # The bottleneck was not written for ResNet-50 alone.
    "resnext50_32x4d": (
        tv.resnext50_32x4d,
        "resnet50",
        ["table.defaults.groups=32", *(f"stages.c{n}.0.expand={2**n * 32}" for n in (2, 3, 4, 5))],
    ),
    "wide_resnet50_2": (
        tv.wide_resnet50_2,
        "resnet50",
        [f"stages.c{n}.0.expand={2**n * 32}" for n in (2, 3, 4, 5)],
    ),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_other_torchvision_networks(name: str) -> None:
    make, spec, overrides = TORCHVISION[name]
    with torch.device("meta"):
        peer = make()
    assert_priced_like(peer, spec, overrides, SIZES)


@pytest.mark.parametrize("name", ["mobilevit_s", "mobilevit_xs", "mobilevit_xxs"])
def test_mobilevit(name: str) -> None:
    with torch.device("meta"):
        peer = timm.create_model(name)
    assert_priced_like(peer, name, [], (256, 250, 200))


LITE = {  # the scaling of the EfficientNet-Lite release: width, depth, size
    0: (1.0, 1.0, 224),
    1: (1.0, 1.1, 240),
    2: (1.1, 1.2, 260),
    3: (1.2, 1.4, 280),
    4: (1.4, 1.8, 300),
}


@pytest.mark.parametrize("number", LITE)
def test_efficientnet_lite(number: int) -> None:
    width, depth, size = LITE[number]
    with torch.device("meta"):
        peer = timm.create_model(f"tf_efficientnet_lite{number}")
    assert_priced_like(peer, "efficientnet_lite0", [f"width_mult={width}", f"depth_mult={depth}"], (size, 193))


@pytest.mark.parametrize(
    ("model", "width"),
    [
        ("mobilenetv3_large_100", 1.0),
        ("mobilenetv3_large_075", 0.75),
        ("mobilenetv3_small_100", 1.0),
        ("mobilenetv3_small_075", 0.75),
        ("mobilenetv3_small_050", 0.5),
    ],
)
def test_timm_mobilenet_v3(model: str, width: float) -> None:
    with torch.device("meta"):
        peer = timm.create_model(model)
    size = model.split("_")[1]
    assert_priced_like(peer, f"timm_mnv3_{size}", [f"width_mult={width}"], SIZES)


def test_timm_mobilenet_v3_large_at_half_width() -> None:
    # timm registers no `mobilenetv3_large_050`; its generator builds one all the same.
    from timm.models.mobilenetv3 import _gen_mobilenet_v3

    with torch.device("meta"):
        peer = _gen_mobilenet_v3("mobilenetv3_large_050", 0.5)
    assert_priced_like(peer, "timm_mnv3_large", ["width_mult=0.5"], SIZES)


def test_published_parameter_counts() -> None:
    # torchvision's own metadata, read from the installed package.
    for spec, weights in [
        ("mnv3_large", tv.MobileNet_V3_Large_Weights.IMAGENET1K_V1),
        ("mnv3_small", tv.MobileNet_V3_Small_Weights.IMAGENET1K_V1),
        ("mobilenet_v2", tv.MobileNet_V2_Weights.IMAGENET1K_V1),
        ("resnet50", tv.ResNet50_Weights.IMAGENET1K_V1),
    ]:
        report = archc.report(archc.load(spec))
        assert report.params == weights.meta["num_params"]
        assert round(report.macs / 1e9, 3) == weights.meta["_ops"]
