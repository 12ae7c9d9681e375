"""`archc.quantize` and `archc quantize`: files, reports, ranges that are kept, and what goes wrong."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import archc
from archc.cli import main
from archc.quantization.quantize import Quantized
from tests.prediction.samples import noise, save
from tests.quantization import samples

TINY = ["width_mult=0.25", "num_classes=10", "input.size=64"]


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    model = archc.build(archc.load("mobilenet_v2", TINY), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():  # norms that have seen images, so that values have the sizes of a trained network's
        for _ in range(20):
            model(torch.randn(8, 3, 64, 64))
    return model.eval()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("photos")
    for number in range(6):
        save(noise(70 + number, 80), directory / f"{number}.png")
    return directory


@pytest.fixture(scope="module")
def weights(tiny: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    archc.save_weights(tiny, file)
    return file


def quantize(*args: Any, **kwargs: Any) -> Quantized:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", archc.SpecWarning)
        return archc.quantize(*args, **kwargs)


def test_a_file_is_written_and_judged(tiny: nn.Module, photos: Path, tmp_path: Path) -> None:
    found = quantize(tiny, photos, path=tmp_path / "x.onnx")
    assert found.exported is not None
    assert found.exported.path == tmp_path / "x.onnx"
    assert found.exported.size == (tmp_path / "x.onnx").stat().st_size
    assert found.calibration is not None
    assert found.calibration.file is not None
    assert found.calibration.simulated.cosine > 0.98
    assert found.calibration.file.images == 6
    assert found.kept_float == ()
    assert found.bytes < 0.4 * found.float_bytes
    assert {row.name for row in found.rows} == set(found.graph.region)
    json.dumps(found.to_dict())


def test_ranges_are_kept_and_used_again(tiny: nn.Module, photos: Path, tmp_path: Path) -> None:
    first = quantize(tiny, photos)
    first.save_ranges(tmp_path / "ranges.json")
    again = quantize(tiny, ranges=tmp_path / "ranges.json", check=photos)
    assert again.quantization.values == first.quantization.values
    assert again.quantization.floats == first.quantization.floats
    for key, value in first.state.items():
        np.testing.assert_allclose(again.state[key], value, rtol=1e-6, atol=1e-9)
    assert first.calibration is not None
    assert again.check is not None
    assert again.check.simulated.cosine == pytest.approx(first.calibration.simulated.cosine, abs=1e-4)
    with pytest.raises(FileExistsError):
        first.save_ranges(tmp_path / "ranges.json")


def test_ranges_of_another_network_are_refused(tiny: nn.Module, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "ranges.json"
    quantize(tiny, photos).save_ranges(file)
    other = archc.build(archc.load("mobilenet_v2", TINY), seed=1)
    with pytest.raises(archc.SpecError, match="does not belong to this network: it was made with other weights"):
        archc.quantize(other, ranges=file)
    with pytest.raises(archc.SpecError, match="it was made for `mobilenet_v2`"):
        archc.quantize(archc.build(archc.load("mnv3_small", TINY), seed=0), ranges=file)
    value = json.loads(file.read_text())
    for change, message in (
        ({"format": "other"}, "is no file of ranges"),
        ({"version": 9}, "has version 9"),
        ({"values": {"nowhere": [0, 1]}}, "no value `nowhere`"),
        ({"values": {next(iter(value["values"])): [1, 0]}}, "a range or scale is no number"),
        ({"weights": {"stem.0.conv.weight": [1.0]}}, "the scales of `stem.0.conv.weight` do not fit"),
    ):
        file.write_text(json.dumps({**value, **change}))
        with pytest.raises(archc.SpecError, match=message):
            archc.quantize(tiny, ranges=file)
    file.write_text("{")
    with pytest.raises(archc.SpecError, match="is no file of ranges"):
        archc.quantize(tiny, ranges=file)


def test_rows_stay_in_float(tiny: nn.Module, photos: Path) -> None:
    found = quantize(tiny, photos, keep_float=["stem.0", "c3.0"])
    assert found.kept_float == ("stem.0", "c3.0")
    assert {row.name for row in found.rows if not row.in_int8} >= {"stem.0", "c3.0"}
    with pytest.raises(archc.SpecError, match=r"has no row `c9\.0`"):
        archc.quantize(tiny, photos, keep_float="c9.0")


def test_agreement_below_what_was_asked(tiny: nn.Module, photos: Path, tmp_path: Path) -> None:
    """A network whose classes are nearly tied: int8 must change some, and that is an error with the rows to blame."""
    model = archc.build(archc.load("mobilenet_v2", TINY), state=None, seed=0).eval()
    model.load_state_dict(tiny.state_dict())
    with torch.no_grad():
        linear = next(module for module in model.modules() if isinstance(module, nn.Linear))
        linear.weight.copy_(linear.weight[:1] + 1e-4 * linear.weight)
        linear.bias.zero_()
    file = tmp_path / "x.onnx"
    with pytest.raises(archc.SpecError, match="keep their class in int8") as caught:
        archc.quantize(model, photos, path=file, min_agreement=1.0)
    assert "rows that lose most alone in int8: `" in caught.value.diagnostics[0].notes[0]
    assert list(tmp_path.iterdir()) == []
    with pytest.warns(archc.SpecWarning, match=r"prediction-changed.*→"):
        archc.quantize(model, photos)
    found = quantize(model, photos, min_agreement=1.0, keep_float="auto")
    assert found.kept_float
    assert found.calibration is not None
    assert found.calibration.simulated.share == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "int8 needs images to calibrate on"),
        ({"images": "x", "keep_float": "auto"}, "needs `min_agreement`"),
        ({"images": "x", "min_agreement": 98}, "is a share from 0 to 1"),
        ({"images": "x", "method": "best"}, "there is no method 'best'"),
        ({"images": "x", "to": "onnx"}, "a target needs a file"),
        ({"images": "x", "path": "x.zip"}, "no target writes files like `x.zip`"),
        ({"ranges": "x", "min_agreement": 0.9}, "agreement is measured on images"),
    ],
    ids=str,
)
def test_arguments_that_do_not_go_together(tiny: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        archc.quantize(tiny, **options)


def run(*words: object) -> Any:
    return CliRunner().invoke(main, ["quantize", *map(str, words)])


def test_the_command(weights: Path, photos: Path, tmp_path: Path) -> None:
    done = run(weights, "--calibrate", photos, "-o", tmp_path / "x.onnx", "--ranges", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    assert "top-1 as in float" in done.output
    assert "wrote" in done.output
    assert {path.name for path in tmp_path.iterdir()} == {"x.onnx", "r.json"}
    done = run(weights, "--ranges", tmp_path / "r.json", "--check", photos, "--sensitivity", "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["check"]["simulated"]["images"] == 6
    assert all(row["alone"]["images"] == 6 for row in value["rows"] if row["int8"])


@pytest.mark.parametrize("case", ["empty", "broken"])
def test_a_calibration_folder_of_no_use(weights: Path, tmp_path: Path, case: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    if case == "broken":
        (folder / "a.png").write_bytes(b"no image")
    done = run(weights, "--calibrate", folder, "-o", tmp_path / "x.onnx")
    assert done.exit_code in (1, 2)
    assert ("holds no images" if case == "empty" else "not-an-image") in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_command_line_that_is_wrong(weights: Path, photos: Path, tmp_path: Path) -> None:
    for words, message in (
        ((weights,), "Name images to calibrate on"),
        ((weights, "--calibrate", photos, "--keep-float", "auto"), "needs `--min-agreement`"),
        ((weights, "--calibrate", photos, "--to", "onnx"), "needs a file"),
    ):
        done = run(*words)
        assert done.exit_code == 2
        assert message in done.stderr


@pytest.mark.slow
def test_real_weights_keep_their_predictions(tmp_path: Path) -> None:
    """EfficientNet-Lite0, calibrated on the pictures themselves; no row is left in float.

    In float, the two most probable classes of five photographs and of one ImageNet picture are less than 0.02 apart,
    so a processor's own rounding may tip one of them: 18 and 20 were measured with ONNX Runtime and LiteRT, 17 to
    19 and 20 with OpenVINO.
    """
    ranges = tmp_path / "ranges.json"
    photographs, imagenet = samples.photographs(), samples.imagenet()
    assert (len(photographs), len(imagenet)) == (19, 20)
    quantize("efficientnet_lite0", [*photographs, *imagenet], weights=samples.lite0()).save_ranges(ranges)
    for images, fewest in ((photographs, 18), (imagenet, 19)):
        for suffix, tipped in ((".onnx", 1), (".tflite", 1), (".xml", 2)):
            file = tmp_path / f"{fewest}{suffix}"
            found = quantize("efficientnet_lite0", weights=samples.lite0(), ranges=ranges, check=images, path=file)
            assert found.check is not None
            assert found.check.file is not None, found.check.unchecked
            assert found.kept_float == ()
            assert found.check.file.same is not None
            assert found.check.file.same >= fewest - tipped, (suffix, found.check.file)
            assert found.check.file.cosine > 0.97
