"""Boxes equal those of torchvision's own detectors, and `top` and `threshold` select among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection import FasterRCNN_MobileNet_V3_Large_320_FPN_Weights as Weights
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import archc
from archc.language.settings import Input
from archc.prediction.boxes import ObjectDetector
from archc.prediction.class_names import names_for
from archc.prediction.errors import PredictionError
from archc.prediction.predictor import run
from archc.prediction.results import Detected, Skipped
from archc.prediction.scores import TorchBoxes
from tests.prediction.samples import save

CONTRACT = Input()


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    """Torchvision's detector with random weights, none of whose scores is too low."""
    torch.manual_seed(0)
    model: nn.Module = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0)
    return model.eval()


def test_boxes_are_torchvisions(peer: nn.Module, tmp_path: Path) -> None:
    images = [Image.fromarray(getattr(skimage.data, photo)()) for photo in ("chelsea", "coffee")]
    paths = [save(image, tmp_path / f"{number}.png") for number, image in enumerate(images)]
    names = names_for("boxes", 91)
    assert names is not None
    found = list(run(ObjectDetector(TorchBoxes(peer), CONTRACT, names, threshold=0.0), paths, 1))
    for path, image, one in zip(paths, images, found, strict=True):
        with torch.no_grad():
            (expected,) = peer([Weights.COCO_V1.transforms()(image)])
        assert isinstance(one, Detected)
        assert len(one.detections) == len(expected["scores"]) > 5
        assert [detection.index for detection in one.detections] == expected["labels"].tolist()
        assert [detection.score for detection in one.detections] == pytest.approx(expected["scores"].tolist())
        torch.testing.assert_close(torch.tensor([detection.box for detection in one.detections]), expected["boxes"])
        assert all(detection.name == names[detection.index] for detection in one.detections)
        told = one.to_dict()
        assert (told["image"], told["size"]) == (str(path), list(image.size))
        assert set(told["detections"][0]) == {"index", "name", "score", "box"}


def fixed(pictures: list[torch.Tensor]) -> list[Mapping[str, torch.Tensor]]:
    """Three boxes in every image, not in order."""
    one = {
        "boxes": torch.tensor([[0.0, 0, 4, 4], [1, 2, 3, 4], [5, 5, 9, 8]]),
        "labels": torch.tensor([3, 1, 2]),
        "scores": torch.tensor([0.4, 0.9, 0.5]),
    }
    return [one for _ in pictures]


@pytest.mark.parametrize(
    ("threshold", "top", "labels"),
    [
        (0.0, None, [1, 2, 3]),
        (0.5, None, [1, 2]),
        (0.500001, None, [1]),
        (0.0, 2, [1, 2]),
        (0.5, 5, [1, 2]),
        (1.0, None, []),
    ],
)
def test_the_best_first_as_many_as_asked_for(
    tmp_path: Path, threshold: float, top: int | None, labels: list[int]
) -> None:
    path = save(Image.new("RGB", (10, 10)), tmp_path / "a.png")
    (found,) = run(ObjectDetector(fixed, CONTRACT, threshold=threshold, top=top), [path], 1)
    assert isinstance(found, Detected)
    assert [detection.index for detection in found.detections] == labels


def test_boxes_below_one_half_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    (found,) = run(ObjectDetector(fixed, CONTRACT), [save(Image.new("RGB", (10, 10)), tmp_path / "a.png")], 1)
    assert isinstance(found, Detected)
    assert found.to_dict()["detections"] == [
        {"index": 1, "name": None, "score": pytest.approx(0.9), "box": (1.0, 2.0, 3.0, 4.0)},
        {"index": 2, "name": None, "score": pytest.approx(0.5), "box": (5.0, 5.0, 9.0, 8.0)},
    ]


def test_images_go_in_as_they_are(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def note(pictures: list[torch.Tensor]) -> list[Mapping[str, torch.Tensor]]:
        seen.extend(pictures)
        return fixed(pictures)

    paths = [save(Image.new("RGB", (6, 4), "#ff8000"), tmp_path / f"{number}.png") for number in range(2)]
    for order in ("rgb", "bgr"):
        list(run(ObjectDetector(note, Input(channel_order=order)), paths, 2))
    rgb = torch.tensor([1.0, 0x80 / 255, 0.0])[:, None, None].expand(3, 4, 6)
    assert all(
        torch.equal(picture, expected) for picture, expected in zip(seen, [rgb, rgb, *[rgb.flip(0)] * 2], strict=True)
    )


def test_a_image_that_is_next_to_a_line(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (2000, 2)), tmp_path / "a.png")
    (found,) = run(ObjectDetector(fixed, CONTRACT), [path], 1)
    assert isinstance(found, Skipped)
    assert found.error.diagnostic.id == "unsupported-image"


def test_weights_that_diverged() -> None:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.bias[1] = torch.inf
    with pytest.raises(PredictionError, match="`bias`") as caught:
        TorchBoxes(module)
    assert caught.value.diagnostic.id == "not-finite"


def test_a_number_of_channels_that_images_do_not_have() -> None:
    with pytest.raises(PredictionError, match="takes 4 channels"):
        ObjectDetector(fixed, Input(channels=4, mean=0.5, std=0.5))


def test_a_plain_network_gives_no_boxes(tmp_path: Path) -> None:
    """With Keras, a detector is its plain network, whose raw predictions only torchvision's class makes boxes of."""
    model = archc.build("ssdlite320_mnv3_large", backend="keras", seed=0)
    image = save(Image.fromarray(skimage.data.chelsea()), tmp_path / "cat.png")
    with pytest.raises(PredictionError, match=r"keras model .* raw predictions .*build the detector with torch"):
        archc.predict(model, image)
