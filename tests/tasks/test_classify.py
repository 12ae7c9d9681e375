from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archc
from archc.spec.settings import Input
from archc.tasks.class_names import names_for, read_names
from archc.tasks.classify import Classifier, class_count
from archc.tasks.errors import TaskError
from tests.tasks.pictures import noise, save

CONTRACT = Input(size=(16, 16), mean=0.0, std=1.0)


class Colours(nn.Module):
    """Tells red, green and blue pictures apart, and notes the batches it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return 10 * images.mean((2, 3))


def paint(directory: Path, colours: list[str]) -> list[Path]:
    from PIL import Image

    return [save(Image.new("RGB", (20, 20), c), directory / f"{n:03}.png") for n, c in enumerate(colours)]


def test_ranked_by_probability(tmp_path: Path) -> None:
    (path,) = paint(tmp_path, ["#8040ff"])
    (classified,) = Classifier(Colours(), CONTRACT, ["red", "green", "blue"]).classify([path], top=2)
    expected = torch.tensor([0x80, 0x40, 0xFF]).div(25.5).softmax(0)
    assert [(p.index, p.name) for p in classified.predictions] == [(2, "blue"), (0, "red")]
    assert [p.probability for p in classified.predictions] == pytest.approx(
        [expected[2].item(), expected[0].item()], abs=1e-6
    )


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (99, 3), (None, 3)])
def test_as_many_as_there_are(tmp_path: Path, top: int | None, count: int) -> None:
    (classified,) = Classifier(Colours(), CONTRACT).classify(paint(tmp_path, ["red"]), top=top)
    assert len(classified.predictions) == count
    assert all(prediction.name is None for prediction in classified.predictions)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_change_nothing(tmp_path: Path, batch_size: int) -> None:
    colours = ["red", "lime", "blue"] * 4
    paths = paint(tmp_path, colours)
    paths[4].write_bytes(b"no picture")
    network = Colours()
    found = list(Classifier(network, CONTRACT, ["red", "lime", "blue"]).classify(paths, 1, batch_size))
    assert [classified.image for classified in found] == paths
    best = [classified.predictions[0].name if classified.predictions else None for classified in found]
    assert best == [*colours[:4], None, *colours[5:]]
    assert found[4].error is not None
    assert found[4].error.diagnostic.id == "not-an-image"
    assert sum(network.batches) == 11
    assert max(network.batches) <= batch_size


def test_a_batch_without_one_picture(tmp_path: Path) -> None:
    paths = paint(tmp_path, ["red"] * 4)
    for path in paths[:2]:
        path.write_bytes(b"")
    network = Colours()
    found = list(Classifier(network, CONTRACT).classify(paths, batch_size=2))
    assert [bool(classified.error) for classified in found] == [True, True, False, False]
    assert network.batches == [2]


def test_the_network_is_in_evaluation_mode(tmp_path: Path) -> None:
    network = nn.Sequential(Colours(), nn.Dropout(0.9))
    (first, second) = Classifier(network, CONTRACT).classify(paint(tmp_path, ["#102030"] * 2))
    assert first.predictions == second.predictions


def test_half_precision_and_gradients(tmp_path: Path) -> None:
    class Half(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).half()

    classifier = Classifier(Half(), CONTRACT)
    (classified,) = classifier.classify(paint(tmp_path, ["red"]))
    assert sum(p.probability for p in classified.predictions) == pytest.approx(1, abs=1e-6)
    assert not classifier.probabilities(torch.zeros(1, 3, 16, 16)).requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    class Broken(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * value

    (classified,) = Classifier(Broken(), CONTRACT).classify(paint(tmp_path, ["red"]))
    assert classified.error is not None
    assert classified.error.diagnostic.id == "not-finite"
    assert set(classified.to_dict()) == {"image", "error"}


def test_many_pictures_stream_through(tmp_path: Path) -> None:
    path = save(noise(160, 120), tmp_path / "a.bmp")
    paths = [path] * 300
    classifier = Classifier(Colours(), Input(size=(96, 96)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in classifier.classify(paths, 1, batch_size=8))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 300
    assert peak < 3e6


def counted(name: str, *overrides: str) -> int:
    spec = archc.load(name, overrides)
    return class_count(spec, archc.lower(spec))


@pytest.mark.parametrize("name", ["mnv3_small", "mobilevit_xxs", "resnet50", "efficientnet_lite0"])
def test_bundled_classifiers(name: str) -> None:
    assert counted(name) == 1000
    assert counted(name, "num_classes=7") == 7


TINY: dict[str, Any] = {
    "stages": {"a": [{"block": "conv", "out": 4}, {"block": "pool"}, {"block": "linear", "out": 6}]}
}


def test_a_classifier_that_states_its_own_width() -> None:
    spec = archc.load(TINY)
    assert class_count(spec, archc.lower(spec)) == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["outputs=[c3,c5]"], "returns a mapping of outputs (`c3`, `c5`)"),
        (["outputs={x: head}"], "returns a mapping of outputs (`x`)"),
        (["outputs=c4"], "returns 48×14×14, not a vector"),
        (["outputs=head.1"], "returns features: 1,024 numbers at "),
        (["~stages.head", "~dropout"], "not a vector"),
        (["~stages.head.3", "~stages.head.2", "~stages.head.1", "~dropout"], "returns 576×1×1, not a vector"),
    ],
)
def test_what_does_not_classify(overrides: list[str], message: str) -> None:
    with pytest.raises(TaskError) as caught:
        counted("mnv3_small", *overrides)
    diagnostic = caught.value.diagnostic
    assert diagnostic.id == "not-a-classifier"
    assert message in diagnostic.message
    assert ("`outputs`" in diagnostic.help) == (overrides[0].startswith("outputs"))


def test_imagenet_has_names() -> None:
    names = names_for(1000)
    assert names is not None
    assert (len(names), names[967], names[285]) == (1000, "espresso", "Egyptian cat")
    assert names_for(999) is None


def test_names_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    for text in ("cat\ndog\n", "cat\r\ndog\r\n\r\n", "\ufeffcat\n dog "):
        path.write_bytes(text.encode())
        assert read_names(path, 2) == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n", "has 1 name, but the network has 2 classes"),
        (b"cat\ndog\nbird\n", "has 3 names, but the network has 2 classes"),
        (b"", "has 0 names"),
        (b"cat\n\ndog\n", "a line without a name"),
        (b"caf\xe9\ndog\n", "is not UTF-8 text"),
        (None, "cannot be read: No such file"),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaskError) as caught:
        read_names(path, 2)
    assert caught.value.diagnostic.id == "class-names"
    assert message in caught.value.diagnostic.message
