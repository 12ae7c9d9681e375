"""Prepared images equal torchvision's and timm's to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.data import create_transform, resolve_data_config

import archc
from archc.language.settings import Input
from archc.prediction.errors import ImageError, PredictionError
from archc.prediction.images import Preparation
from tests.prediction.samples import noise, save

SIZES = [(640, 480), (333, 500), (224, 224), (97, 61), (700, 110)]
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_large", "mobilenet_v2", "resnet50", "efficientnet_b1", "swin_t", "vit_l_16"]
)
def test_torchvisions_presets(name: str) -> None:
    for weights in torchvision.models.get_model_weights(name):
        preset = weights.transforms()
        (crop,), (before,) = preset.crop_size, preset.resize_size
        preprocessing = Input(
            size=(crop, crop), crop=crop / before, interpolation=preset.interpolation.value, **IMAGENET
        )
        prepare = Preparation(preprocessing)
        assert prepare.before_crop == [before, before], weights
        for width, height in SIZES:
            image = noise(width, height)
            assert torch.equal(prepare.prepare(image), preset(image)), (weights, image.size)


@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_every_published_size_before_the_crop_is_met(name: str) -> None:
    for weights in torchvision.models.get_model_weights(name):
        preset = weights.transforms()
        (crop,), (before,) = preset.crop_size, preset.resize_size
        assert Preparation(Input(size=(crop, crop), crop=crop / before)).before_crop == [before, before]


@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv3_large_100.ra_in1k",
        "tf_efficientnet_lite0.in1k",
        "tf_efficientnet_lite4.in1k",
        "mobilevit_s.cvnets_in1k",
        "mobilevitv2_100.cvnets_in1k",
        "efficientnet_b1.ft_in1k",
        "resnet50.a1_in1k",
    ],
)
def test_timms_evaluation_transform(name: str) -> None:
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    assert config["crop_mode"] == "center"
    preprocessing = _contract(config)
    for width, height in SIZES:
        image = noise(width, height)
        assert torch.equal(Preparation(preprocessing).prepare(image), create_transform(**config)(image)), image.size


@pytest.mark.parametrize("size", [(192, 320), (320, 192), (224, 225), (64, 512)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_a_rectangle_is_covered_as_timm_covers_it(size: tuple[int, int], crop: float) -> None:
    config = {"input_size": (3, *size), "crop_pct": crop, "interpolation": "bicubic", "crop_mode": "center", **IMAGENET}
    prepare = Preparation(_contract(config))
    for width, height in SIZES:
        image = noise(width, height)
        prepared = prepare.prepare(image)
        assert prepared.shape == (3, *size)
        assert torch.equal(prepared, create_transform(**config)(image)), image.size


def _contract(config: dict[str, Any]) -> Input:
    return Input(
        size=config["input_size"][1:],
        crop=config["crop_pct"],
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolations_are_pillows(interpolation: str) -> None:
    image = noise(300, 200)
    preprocessing = Input(size=(96, 96), crop=1.0, interpolation=interpolation, mean=0.0, std=1.0)
    resized = image.resize((144, 96), Image.Resampling[interpolation.upper()]).crop((24, 0, 120, 96))
    expected = torchvision.transforms.functional.to_tensor(resized)
    assert torch.equal(Preparation(preprocessing).prepare(image), expected)


def test_bgr_reorders_before_the_statistics() -> None:
    image = noise(80, 80)
    settings: dict[str, Any] = {"size": (64, 64), "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    plain = Preparation(Input(size=(64, 64), mean=0.0, std=1.0)).prepare(image)
    bgr = Preparation(Input(channel_order="bgr", **settings)).prepare(image)
    expected = [(plain[2] - 0.1) / 0.5, (plain[1] - 0.2) / 0.6, (plain[0] - 0.3) / 0.7]
    torch.testing.assert_close(bgr, torch.stack(expected))


def test_one_channel_is_grey(tmp_path: Path) -> None:
    image = noise(80, 60)
    path = save(image, tmp_path / "a.png")
    prepared = Preparation(Input(channels=1, size=(60, 60), crop=1.0, mean=0.0, std=1.0))(path)
    expected = torchvision.transforms.functional.to_tensor(image.convert("L").crop((10, 0, 70, 60)))
    assert torch.equal(prepared, expected)


def test_other_channels_are_refused() -> None:
    with pytest.raises(PredictionError, match="takes 4 channels, but images have 3, or 1"):
        Preparation(Input(channels=4, mean=0.5, std=0.5))


def test_the_shape_is_the_specs(tmp_path: Path) -> None:
    path = save(noise(50, 31), tmp_path / "small.png")
    for name in ("mnv3_small", "mobilevit_xxs", "efficientnet_lite0"):
        preprocessing = archc.load(name).input
        assert Preparation(preprocessing)(path).shape == (preprocessing.channels, *preprocessing.size)


def test_one_pixel_is_a_image(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (1, 1), (255, 0, 0)), tmp_path / "dot.png")
    prepared = Preparation(Input(mean=0.0, std=1.0))(path)
    assert prepared.mean((1, 2)).tolist() == [1, 0, 0]


@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1)])
def test_a_thread_is_not_blown_up(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(Image.new("L", size), tmp_path / "thread.png")
    with pytest.raises(ImageError, match="resized to cover") as caught:
        Preparation(Input())(path)
    assert caught.value.diagnostic.id == "image-too-large"
