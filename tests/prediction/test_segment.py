"""Masks equal what torchvision's own model and preset give, pixel for pixel."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torchvision.models import segmentation
from torchvision.transforms._presets import SemanticSegmentation

import archc
from archc.language.settings import Input
from archc.prediction.images import Preparation
from archc.prediction.predictor import run
from archc.prediction.results import Segmented, Skipped
from archc.prediction.scores import TorchScores
from archc.prediction.segment import Segmenter, best_classes
from tests.prediction.networks import calibrate
from tests.prediction.samples import noise, save

CONTRACT = Input(size=(16, 16), crop=1.0, mean=0.0, std=1.0)


class Colours(nn.Module):
    """Scores red, green and blue at a quarter of the resolution, and notes the shapes it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen.append(tuple(pictures.shape))
        return {"aux": pictures.mean((2, 3)), "out": functional.avg_pool2d(pictures, 4)}


def segment(network: nn.Module, paths: list[Path], batch_size: int = 1, names: list[str] | None = None) -> list[Any]:
    return list(run(Segmenter(TorchScores(network, output="out"), CONTRACT, names), paths, batch_size))


def halves(width: int, height: int) -> Image.Image:
    """Red on the left three quarters, blue on the rest."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width * 3 // 4, 0, width, height))
    return image


@pytest.mark.parametrize(
    ("size", "resized"), [((640, 480), (520, 693)), ((333, 500), (780, 520)), ((60, 60), (520, 520))]
)
def test_the_whole_image_as_torchvisions_preset_prepares_it(size: tuple[int, int], resized: tuple[int, int]) -> None:
    preset = segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1.transforms()
    image = noise(*size)
    prepared = Preparation(archc.load("lraspp_mnv3_large").input, whole=True).prepare(image)
    assert prepared.shape[1:] == resized
    assert torch.equal(prepared, preset(image))


def test_a_rectangle_is_covered_and_nothing_is_cut_off() -> None:
    preprocessing = Input(size=(100, 300), crop=1.0)
    for width, height, resized in [(600, 100, (100, 600)), (100, 100, (300, 300)), (300, 50, (100, 600))]:
        assert Preparation(preprocessing, whole=True).prepare(noise(width, height)).shape[1:] == resized


PEERS: dict[str, Any] = {
    "lraspp_mnv3_large": segmentation.lraspp_mobilenet_v3_large,
    "deeplabv3_mnv3_large": partial(segmentation.deeplabv3_mobilenet_v3_large, aux_loss=True),
}


@pytest.mark.parametrize("name", PEERS)
def test_masks_are_torchvisions(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    peer = PEERS[name](weights=None, weights_backbone=None)
    preset = SemanticSegmentation(resize_size=96)
    images = [Image.fromarray(getattr(skimage.data, photo)()) for photo in ("coffee", "chelsea")]
    calibrate(peer, torch.stack([preset(image.resize((120, 96))) for image in images]))

    spec = archc.load(name, ["input.size=96"])
    model = archc.build(spec)
    archc.load_weights(model, peer.state_dict(), source="torchvision")
    segmenter = Segmenter(TorchScores(model, output="out"), spec.input)
    paths = [save(image, tmp_path / f"{number}.png") for number, image in enumerate(images)]
    for image, found in zip(images, run(segmenter, paths, 1), strict=True):
        with torch.no_grad():
            scores = peer.eval()(preset(image)[None])["out"]
        size = [image.height, image.width]
        expected = functional.interpolate(scores, size, mode="bilinear", align_corners=False).argmax(1)[0]
        assert isinstance(found, Segmented)
        assert found.mask.shape == (image.height, image.width)
        assert len(found.classes) >= 4, "the test needs a mask that is not all of one class"
        assert (found.mask == expected).double().mean() > 0.9999  # scores that tie to the last bit may fall either way
        counts = dict(zip(*np.unique(found.mask.numpy(), return_counts=True), strict=True))
        assert {area.index: area.pixels for area in found.classes} == counts


def test_shares_are_of_the_images_own_pixels(tmp_path: Path) -> None:
    path = save(halves(160, 40), tmp_path / "a.png")
    (found,) = segment(Colours(), [path], names=["red", "green", "blue"])
    assert [(area.index, area.name, area.pixels) for area in found.classes] == [
        (0, "red", 4800),
        (2, "blue", 1600),
    ]
    assert [area.share for area in found.classes] == [0.75, 0.25]
    assert found.to_dict() == {
        "image": str(path),
        "size": [160, 40],
        "classes": [
            {"index": 0, "name": "red", "pixels": 4800, "share": 0.75},
            {"index": 2, "name": "blue", "pixels": 1600, "share": 0.25},
        ],
    }


def test_only_neighbours_of_one_size_share_a_batch(tmp_path: Path) -> None:
    sizes = [(40, 30), (40, 30), (40, 30), (30, 40), (80, 60), (40, 30)]
    paths = [save(halves(*size), tmp_path / f"{number}.png") for number, size in enumerate(sizes)]
    network = Colours()
    found = segment(network, paths, batch_size=2)
    assert [one.path for one in found] == paths
    assert [one.image.size for one in found] == sizes
    assert [tuple(one.mask.shape) for one in found] == [size[::-1] for size in sizes]
    assert [shape[0] for shape in network.seen] == [2, 1, 1, 2]


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    thin = save(Image.new("RGB", (3, 300)), tmp_path / "thin.png")
    good = save(halves(40, 30), tmp_path / "good.png")
    found = segment(Colours(), [broken, thin, good], batch_size=3)
    assert [type(one) for one in found] == [Skipped, Skipped, Segmented]
    assert [one.error.diagnostic.id for one in found[:2]] == ["not-an-image", "image-too-large"]
    assert "it would be 16×1600" in found[1].error.diagnostic.message


def test_a_shape_that_the_network_cannot_take(tmp_path: Path) -> None:
    paths = [
        save(halves(*size), tmp_path / f"{number}.png") for number, size in enumerate([(40, 40), (40, 50), (80, 80)])
    ]
    asked: list[tuple[int, int]] = []

    def refuses(height: int, width: int) -> str:
        asked.append((height, width))
        return "" if height == width else "it is not square"

    segmenter = Segmenter(TorchScores(Colours(), output="out"), CONTRACT, refuses=refuses)
    found = list(run(segmenter, [*paths, paths[1]], 1))
    assert [type(one) for one in found] == [Segmented, Skipped, Segmented, Skipped]
    assert isinstance(found[1], Skipped)
    assert found[1].error.diagnostic.id == "image-size"
    assert "is resized to 16×20, which the network cannot take: it is not square" in str(found[1].error)
    assert asked == [(16, 16), (20, 16)], "each shape is asked about once"


def test_numbers_that_are_none(tmp_path: Path) -> None:
    class Broken(Colours):
        def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": super().forward(pictures)["out"] * float("nan")}

    (found,) = segment(Broken(), [save(halves(40, 30), tmp_path / "a.png")])
    assert isinstance(found, Skipped)
    assert found.error.diagnostic.id == "not-finite"


def test_a_grey_network_takes_grey_images(tmp_path: Path) -> None:
    preprocessing = Input(channels=1, size=(16, 16), crop=1.0, mean=0.5, std=0.5)
    segmenter = Segmenter(lambda pictures: torch.cat([pictures, -pictures], 1), preprocessing)
    image = Image.new("L", (20, 20), 255)
    image.paste(0, (0, 0, 20, 5))
    (found,) = run(segmenter, [save(image, tmp_path / "a.png")], 1)
    assert isinstance(found, Segmented)
    assert [(area.index, area.pixels) for area in found.classes] == [(0, 300), (1, 100)]


@pytest.mark.parametrize("classes", [2, 21, 300])
@pytest.mark.parametrize("size", [(33, 47), (8, 8), (5, 90)])
def test_one_class_at_a_time_is_argmax(classes: int, size: tuple[int, int]) -> None:
    scores = torch.randn(classes, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(scores[None], size, mode="bilinear", align_corners=False).argmax(1)[0]
    assert torch.equal(best_classes(scores, *size).long(), expected)


def test_the_first_of_equals_wins() -> None:
    assert torch.equal(best_classes(torch.zeros(3, 2, 2), 4, 4), torch.zeros(4, 4, dtype=torch.uint8))


def test_few_images_are_in_memory(tmp_path: Path) -> None:
    path = save(noise(64, 48), tmp_path / "a.bmp")
    pictures: list[weakref.ref[Image.Image]] = []
    most = 0
    for found in run(Segmenter(TorchScores(Colours(), output="out"), CONTRACT), [path] * 40, 2):
        assert isinstance(found, Segmented)
        pictures.append(weakref.ref(found.image))
        most = max(most, sum(picture() is not None for picture in pictures))
    assert len(pictures) == 40
    assert most <= 6
