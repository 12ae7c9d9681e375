"""`archc predict` of masks and boxes: the same numbers as in Python, drawn where they were asked for."""

from __future__ import annotations

import copy
import re
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import yaml
from PIL import Image
from torchvision.models import get_model_weights

import archc
from archc.prediction.draw import draw_boxes
from archc.prediction.images import Preparation
from archc.prediction.results import Detection
from archc.prediction.segment import best_classes
from archc.prediction.thresholds import default_threshold, keeping, own_threshold
from tests.cli.conftest import Run
from tests.prediction.networks import calibrate
from tests.prediction.samples import noise, save

VOC = get_model_weights("lraspp_mobilenet_v3_large").DEFAULT.meta["categories"]
COCO = get_model_weights("ssdlite320_mobilenet_v3_large").DEFAULT.meta["categories"]
SSD = ("ssdlite320_mnv3_large", "width_mult=0.35")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs of different sizes, and nothing else."""
    directory = tmp_path_factory.mktemp("photos")
    for name in ("chelsea", "coffee"):
        save(Image.fromarray(getattr(skimage.data, name)()).reduce(2), directory / f"{name}.png")
    return directory


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an LR-ASPP that sees several classes in the photographs."""
    spec = archc.load("lraspp_mnv3_large", ["input.size=64", "width_mult=0.35"])
    model = archc.build(spec, seed=0)
    prepare = Preparation(spec.input, whole=True).prepare
    calibrate(model, torch.stack([prepare(Image.fromarray(skimage.data.coffee()).resize((80, 64)))] * 2))
    path = tmp_path_factory.mktemp("segmenter") / "model.safetensors"
    archc.save_weights(model, path)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an SSDlite whose scores differ."""
    path = tmp_path_factory.mktemp("detector") / "model.safetensors"
    archc.save_weights(_ssd(), path)
    return path


@cache
def _ssd() -> torch.nn.Module:
    model = archc.build(archc.load(SSD[0], SSD[1:]), seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    picture = torch.from_numpy(skimage.data.coffee()).permute(2, 0, 1).float() / 127.5 - 1
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.head(list(model.backbone(picture[None, :, :320, :320].repeat(2, 1, 1, 1)).values()))
        for name, parameter in model.named_parameters():
            if name.endswith(".bias") and len(parameter) == 6 * 91:
                parameter.copy_(2 * torch.randn(len(parameter), generator=generator))
            elif len(parameter) == 6 * 91:
                parameter.mul_(3)
    return model.eval()


# Masks


def test_a_mask_as_json(run: Run, segmenter: Path, photos: Path) -> None:
    result = run("predict", str(segmenter), str(photos), "--json")
    assert (result.code, result.err) == (0, "")
    spec = archc.load("lraspp_mnv3_large", ["input.size=64", "width_mult=0.35"])
    model = archc.build(spec)
    archc.load_weights(model, segmenter)
    for entry, name in zip(result.json, ("chelsea", "coffee"), strict=True):
        image = Image.open(photos / f"{name}.png")
        with torch.no_grad():
            scores = model.eval()(Preparation(spec.input, whole=True).prepare(image)[None])["out"][0]
        indices, counts = np.unique(best_classes(scores, image.height, image.width), return_counts=True)
        assert entry["image"] == str(photos / f"{name}.png")
        assert entry["size"] == list(image.size)
        assert len(indices) > 2
        assert {found["index"]: found["pixels"] for found in entry["classes"]} == dict(
            zip(indices, counts, strict=True)
        )
        assert sum(found["share"] for found in entry["classes"]) == pytest.approx(1)
        assert all(found["name"] == VOC[found["index"]] for found in entry["classes"])
        pixels = [found["pixels"] for found in entry["classes"]]
        assert pixels == sorted(pixels, reverse=True)
        assert set(entry) == {"image", "size", "classes"}


def test_a_mask_as_text(run: Run, segmenter: Path, photos: Path) -> None:
    (entry,) = run("predict", str(segmenter), str(photos / "coffee.png"), "--json").json
    header, *rows = run("predict", str(segmenter), str(photos / "coffee.png")).out.splitlines()
    assert header == f"{photos / 'coffee.png'}  300×200"
    found = [re.fullmatch(r" +(\d+\.\d)%  (\S+) +(\d+)", row) for row in rows]
    assert [(match[1], match[2], int(match[3])) for match in found if match] == [
        (f"{100 * one['share']:.1f}", one["name"], one["index"]) for one in entry["classes"]
    ]
    both = run("predict", str(segmenter), str(photos)).out.split("\n\n")
    assert [block.splitlines()[0].split("  ")[1] for block in both] == ["226×150", "300×200"]


def test_a_mask_is_drawn_over_its_image(run: Run, segmenter: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.png"
    result = run("predict", str(segmenter), str(photos / "coffee.png"), "-o", str(out))
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith(f"\n\nwrote {out}\n")
    drawn, photo = np.asarray(Image.open(out)), np.asarray(Image.open(photos / "coffee.png"))
    assert drawn.shape[1] == 2 * 300, "a small picture is drawn enlarged"
    assert drawn.shape[0] > 2 * 200, "the legend is below"
    assert (drawn[: 2 * 200 : 2, ::2] != photo).any()
    assert [entry.name for entry in out.parent.iterdir()] == ["out.png"]


def test_several_images_are_drawn_into_a_directory(run: Run, segmenter: Path, photos: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    for number, suffix in enumerate(("jpg", "png", "bmp")):
        save(noise(90, 70, number), many / f"{number}.{suffix}")
    (many / "1.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    result = run("predict", str(segmenter), str(many), "-o", str(out), "--json")
    assert result.code == 1
    assert "error[not-an-image]" in result.err
    assert [entry.get("drawn") for entry in result.json] == [str(out / "0.jpg"), None, str(out / "2.bmp")]
    assert sorted(entry.name for entry in out.iterdir()) == ["0.jpg", "2.bmp"]
    result = run("predict", str(segmenter), str(many), "-o", str(out))
    assert result.code == 2
    assert "0.jpg, " in result.err
    assert "exist already; `--force` overwrites" in result.err
    result = run("predict", str(segmenter), str(many), "-o", str(out), "--force")
    assert result.code == 1
    assert result.out.endswith(f"\n\nwrote 2 images into {out}\n")


def test_a_drawing_that_cannot_be_written_stops_nothing(run: Run, segmenter: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.webp", "c.png"):
        save(noise(90, 70), tmp_path / "many" / name)
    save(noise(17_000, 600), tmp_path / "many" / "b.webp.bmp")
    (tmp_path / "many" / "b.webp").unlink()
    (tmp_path / "many" / "b.webp.bmp").rename(tmp_path / "many" / "b.webp")
    out = tmp_path / "out"
    result = run("predict", str(segmenter), str(tmp_path / "many"), "-o", str(out), "--json")
    assert result.code == 1
    assert [entry.get("drawn") for entry in result.json] == [str(out / "a.png"), None, str(out / "c.png")]
    assert all("classes" in entry for entry in result.json)
    assert f"Error: {out / 'b.webp'}: WEBP cannot hold 17000×" in result.err


def test_images_are_upright_before_all_else(run: Run, segmenter: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    save(noise(300, 240), tmp_path / "a.jpg", exif=exif)
    (entry,) = run("predict", str(segmenter), str(tmp_path / "a.jpg"), "-o", str(tmp_path / "b.png"), "--json").json
    assert entry["size"] == [240, 300]
    assert Image.open(tmp_path / "b.png").width == 240


def test_names_of_ones_own(run: Run, segmenter: Path, photos: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {number}" for number in range(21)))
    arguments = ("predict", str(segmenter), str(photos / "coffee.png"), "--json", "--classes")
    assert all(found["name"] == f"class {found['index']}" for found in run(*arguments, str(names)).json[0]["classes"])
    assert all(found["name"] is None for found in run(*arguments, "none").json[0]["classes"])
    names.write_text("cat\ndog\n")
    assert "has 2 names, but the network has 21 classes" in run(*arguments, str(names)).err


def test_a_size_that_does_not_come_out_even(run: Run, tmp_path: Path) -> None:
    """A network that joins what it halved and doubled takes even sizes only: an odd one is no traceback."""
    conv = {"block": "conv", "out": 4, "kernel": 3}
    stages = {
        "a": [conv],
        "b": [{**conv, "stride": 2}],
        "c": [{**conv, "from": "a", "padding": "valid", "kernel": 2, "stride": 2}],
        "join": [{"block": "add", "from": ["b", "c"]}, {"block": "resize", "to": "input"}],
    }
    spec = {"stages": stages, "num_classes": 4, "input": {"size": 16, "crop": 1.0}, "name": "even"}
    path = tmp_path / "even.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    archc.save_weights(archc.build(path, seed=0), tmp_path / "even.safetensors")
    save(noise(32, 32), tmp_path / "p" / "even.png")
    save(noise(32, 34), tmp_path / "p" / "odd.png")
    result = run("predict", str(tmp_path / "even.safetensors"), str(tmp_path / "p"))
    assert result.code == 1
    assert "even.png  32×32" in result.out
    assert re.search(
        r"error\[image-size\]: `\S+odd\.png` is resized to 16×17, which the network cannot take: ", result.err
    )


# Boxes


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_boxes_as_json(run: Run, detector: Path, photos: Path, name: str) -> None:
    image = Image.open(photos / f"{name}.png")
    with torch.no_grad():
        (expected,) = _ssd()([torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255])
    threshold = float(expected["scores"].min() + expected["scores"].max()) / 2
    kept = expected["scores"] >= threshold
    assert 0 < kept.sum() < len(kept), "the threshold must tell some from others"

    result = run("predict", str(detector), str(photos / f"{name}.png"), "--json", "--threshold", str(threshold))
    assert (result.code, result.err) == (0, "")
    (entry,) = result.json
    found = entry["detections"]
    assert (entry["image"], entry["size"]) == (str(photos / f"{name}.png"), list(image.size))
    assert [one["index"] for one in found] == expected["labels"][kept].tolist()
    assert [one["score"] for one in found] == pytest.approx(expected["scores"][kept].tolist(), abs=1e-6)
    boxes = torch.tensor([one["box"] for one in found])
    torch.testing.assert_close(boxes, expected["boxes"][kept], atol=1e-3, rtol=1e-5)
    assert all(one["name"] == COCO[one["index"]] for one in found)


def test_boxes_as_text(run: Run, detector: Path, photos: Path) -> None:
    arguments = ("predict", str(detector), str(photos / "coffee.png"), "--threshold", "0.2", "--top", "3")
    (entry,) = run(*arguments, "--json").json
    assert len(entry["detections"]) == 3
    header, *rows = run(*arguments).out.splitlines()
    assert header == f"{photos / 'coffee.png'}  300×200"
    for row, one in zip(rows, entry["detections"], strict=True):
        score, rest = row.strip().split("  ", 1)
        assert score == f"{one['score']:.3f}"
        assert rest.startswith(one["name"])
        assert [int(side) for side in rest[len(one["name"]) :].split()] == [round(side) for side in one["box"]]


def test_what_is_asked_for_is_not_dropped_by_the_detector_itself(run: Run, detector: Path, photos: Path) -> None:
    arguments = ("predict", *SSD, "--weights", str(detector), str(photos / "coffee.png"), "--json", "--threshold")

    def scores(*words: str) -> list[float]:
        return [one["score"] for one in run(*arguments, *words).json[0]["detections"]]

    everything = scores("0")
    assert len(everything) == 300
    assert scores("0", "detector.score_thresh=0.9") == everything
    assert scores("0.8", "detector.score_thresh=0.9") == [score for score in everything if score >= 0.8]


@pytest.mark.parametrize(
    ("kind", "key"), [("ssd", "detector.score_thresh"), ("faster_rcnn", "detector.box.score_thresh")]
)
def test_a_higher_threshold_of_the_spec_is_the_default(kind: str, key: str) -> None:
    spec = archc.load({"ssd": "ssdlite320_mnv3_large", "faster_rcnn": "fasterrcnn_mnv3_large_320_fpn"}[kind])
    assert default_threshold(spec.detector) == 0.5
    assert default_threshold(spec.override({key: 0.7}).detector) == 0.7
    graph = archc.lower(spec)
    assert keeping(graph, None) is graph
    assert keeping(graph, 0.3) is graph
    lower = keeping(archc.lower(spec.override({key: 0.7})), 0.2)
    assert lower.detector is not None
    assert own_threshold(lower.detector) == (key, 0.2)


def test_no_box(run: Run, detector: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    result = run("predict", str(detector), str(photos / "coffee.png"), "--threshold", "1", "-o", str(out))
    assert result.code == 0
    assert result.out.splitlines()[1] == "  no box scores 1 or more"
    photo = Image.open(photos / "coffee.png")
    assert Image.open(out).tobytes() == photo.resize((600, 400), Image.Resampling.NEAREST).tobytes()


def test_boxes_are_drawn(run: Run, detector: Path, photos: Path, tmp_path: Path) -> None:
    arguments = ("--threshold", "0.1", "--top", "6", "-o", str(tmp_path / "out"), "--json")
    result = run("predict", str(detector), str(photos), *arguments)
    assert (result.code, result.err) == (0, "")
    for entry, name in zip(result.json, ("chelsea", "coffee"), strict=True):
        assert entry["drawn"] == str(tmp_path / "out" / f"{name}.png")
        detections = [Detection(**one) for one in entry["detections"]]
        assert len(detections) == 6
        expected = draw_boxes(Image.open(photos / f"{name}.png"), detections)
        assert Image.open(entry["drawn"]).tobytes() == expected.tobytes()


def test_weights_that_diverged(run: Run, photos: Path, tmp_path: Path) -> None:
    model = copy.deepcopy(_ssd())
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    archc.save_weights(model, tmp_path / "nan.safetensors")
    result = run("predict", str(tmp_path / "nan.safetensors"), str(photos / "coffee.png"))
    assert (result.code, result.out) == (1, "")
    assert "error[not-finite]: the weights hold nan or inf" in result.err


# The command line


@pytest.mark.parametrize(
    ("network", "arguments", "code", "message"),
    [
        ("segmenter", ["--top", "3"], 2, "but `lraspp_mobilenet_v3_large` gives each pixel its class"),
        ("segmenter", ["--threshold", "0.5"], 2, "`--threshold` leaves out boxes, but"),
        ("segmenter", ["--force"], 2, "there is no `-o`"),
        ("segmenter", ["-o", "out.txt"], 2, "`.txt` cannot be written; .bmp, "),
        ("segmenter", ["input.crop=0.875"], 1, "error[mask-crop]: a mask covers the whole image"),
        ("segmenter", ["outputs=[c3,c5]"], 2, "error[not-a-classifier]"),
        ("detector", ["-o", "PICTURE", "--force"], 2, "is one of the images"),
        ("detector", ["--threshold", "-1"], 2, "--threshold"),
        ("detector", ["--device", "nonsense"], 2, "`nonsense` cannot be used here"),
    ],
)
def test_a_wrong_command_line(
    run: Run,
    photos: Path,
    request: pytest.FixtureRequest,
    network: str,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    picture = str(photos / "coffee.png")
    before = Path(picture).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = [picture if word == "PICTURE" else word for word in arguments]
        result = run("predict", str(request.getfixturevalue(network)), picture, *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert Path(picture).read_bytes() == before
    assert sorted(entry.name for entry in photos.iterdir()) == ["chelsea.png", "coffee.png"]
