from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archc.language.settings import Input
from archc.prediction.classify import Classifier
from archc.prediction.predictor import run
from archc.prediction.results import Classified, Skipped
from archc.prediction.scores import TorchScores
from tests.prediction.samples import noise, save

CONTRACT = Input(size=(16, 16), mean=0.0, std=1.0)


class Colours(nn.Module):
    """Tells red, green and blue images apart, and notes the batches it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return 10 * images.mean((2, 3))


def classify(
    network: nn.Module,
    paths: list[Path],
    names: list[str] | None = None,
    top: int | None = 5,
    batch_size: int = 32,
    preprocessing: Input = CONTRACT,
) -> Iterator[Any]:
    return run(Classifier(TorchScores(network), preprocessing, names, top), paths, batch_size)


def paint(directory: Path, colours: list[str]) -> list[Path]:
    from PIL import Image

    return [save(Image.new("RGB", (20, 20), c), directory / f"{n:03}.png") for n, c in enumerate(colours)]


def test_ranked_by_probability(tmp_path: Path) -> None:
    (path,) = paint(tmp_path, ["#8040ff"])
    (classified,) = classify(Colours(), [path], ["red", "green", "blue"], top=2)
    expected = torch.tensor([0x80, 0x40, 0xFF]).div(25.5).softmax(0)
    assert [(p.index, p.name) for p in classified.predictions] == [(2, "blue"), (0, "red")]
    assert [p.probability for p in classified.predictions] == pytest.approx(
        [expected[2].item(), expected[0].item()], abs=1e-6
    )


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (99, 3), (None, 3)])
def test_as_many_as_there_are(tmp_path: Path, top: int | None, count: int) -> None:
    (classified,) = classify(Colours(), paint(tmp_path, ["red"]), top=top)
    assert len(classified.predictions) == count
    assert all(prediction.name is None for prediction in classified.predictions)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_change_nothing(tmp_path: Path, batch_size: int) -> None:
    colours = ["red", "lime", "blue"] * 4
    paths = paint(tmp_path, colours)
    paths[4].write_bytes(b"no picture")
    network = Colours()
    found = list(classify(network, paths, ["red", "lime", "blue"], 1, batch_size))
    assert [classified.path for classified in found] == paths
    best = [one.predictions[0].name if isinstance(one, Classified) else None for one in found]
    assert best == [*colours[:4], None, *colours[5:]]
    assert found[4].error.diagnostic.id == "not-an-image"
    assert sum(network.batches) == 11
    assert max(network.batches) <= batch_size


def test_a_batch_without_one_image(tmp_path: Path) -> None:
    paths = paint(tmp_path, ["red"] * 4)
    for path in paths[:2]:
        path.write_bytes(b"")
    network = Colours()
    found = list(classify(network, paths, batch_size=2))
    assert [isinstance(one, Skipped) for one in found] == [True, True, False, False]
    assert network.batches == [2]


def test_the_network_is_in_evaluation_mode(tmp_path: Path) -> None:
    network = nn.Sequential(Colours(), nn.Dropout(0.9))
    (first, second) = classify(network, paint(tmp_path, ["#102030"] * 2))
    assert first.predictions == second.predictions


def test_half_precision_and_gradients(tmp_path: Path) -> None:
    class Half(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).half()

    (classified,) = classify(Half(), paint(tmp_path, ["red"]))
    assert sum(p.probability for p in classified.predictions) == pytest.approx(1, abs=1e-6)
    scores = TorchScores(Half())(torch.zeros(1, 3, 16, 16))
    assert (scores.dtype, scores.requires_grad) == (torch.float32, False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    class Broken(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * value

    (classified,) = classify(Broken(), paint(tmp_path, ["red"]))
    assert classified.error.diagnostic.id == "not-finite"
    assert set(classified.to_dict()) == {"image", "error"}


def test_many_images_stream_through(tmp_path: Path) -> None:
    path = save(noise(160, 120), tmp_path / "a.bmp")
    paths = [path] * 300
    tracemalloc.start()
    try:
        count = sum(1 for _ in classify(Colours(), paths, top=1, batch_size=8, preprocessing=Input(size=(96, 96))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 300
    assert peak < 3e6
