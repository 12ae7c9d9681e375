"""Detectors in exported files, against torchvision's own with the same weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

import archc
from archc.analysis.anchors import anchors
from archc.backends import emitter
from archc.backends.protocol import ANCHORS, BOXES, Form
from archc.blocks.lower import lower
from archc.cli import main
from archc.document.diagnostics import SpecError
from archc.exporting.boxes import Detector, Tally, match
from archc.exporting.check import Comparison
from archc.exporting.network import Network
from archc.ir import Graph
from archc.ir.ops import Image
from archc.ir.state import Array
from archc.prediction.errors import PredictionError
from archc.prediction.results import Detected
from archc.runtimes import open_file
from tests.exporting.detectors import PHOTOGRAPHS, images, lively, noise, normalised

NETWORKS: dict[str, tuple[str, list[str]]] = {
    "ssd": ("ssdlite320_mnv3_large", ["input.size=128", "width_mult=0.25"]),
    "joint": ("ssdlite_mobilevit_s", ["input.size=[160,128]"]),
    "rcnn": (
        "fasterrcnn_mnv3_large_320_fpn",
        ["norm.kind=batch", "input.size=[128,160]", "width_mult=0.25", "detector.box.hidden=[64]"],
    ),
    "four levels": (
        "fasterrcnn_resnet50_fpn",
        [
            "norm={kind: batch, eps: 1.0e-5}",
            "input.size=[224,256]",
            "width_mult=0.125",
            "num_classes=11",
            "detector.box.hidden=[32]",
            "detector.rpn={pre_nms_top_n_test: 150, post_nms_top_n_test: 150}",
        ],
    ),
    "one level": (
        "fasterrcnn_mnv3_large_320_fpn",
        [
            "norm.kind=batch",
            "input.size=128",
            "width_mult=0.25",
            "detector.box={levels: ['1'], hidden: [32], sampling_ratio: -1}",
        ],
    ),
}
SSD = ("ssd", "joint")
CLOSE = 1e-3
"""The largest difference of scores."""


@cache
def network(name: str) -> Network:
    source, changes = NETWORKS[name]
    graph = lower(archc.load(source, changes))
    return Network(graph, lively(graph))


def export(name: str, folder: Path, **options: object) -> Path:
    found, file = network(name), folder / "net.onnx"
    archc.export(found.graph, file, state=found.state, check=False, **options)
    return file


def torchvision(name: str, image: torch.Tensor) -> dict[str, Array]:
    """What torchvision's detector finds in an image that it is given as a user would."""
    graph, state, _ = network(name)
    with torch.inference_mode():
        (found,) = archc.build(graph, state=state).eval()([image])
    return {key: value.numpy() for key, value in found.items()}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in SSD)) for name in NETWORKS]
)
def test_boxes(name: str, tmp_path: Path) -> None:
    """The same boxes, matched by label, overlap and score. Rounding may move one in fifty."""
    graph = network(name).graph
    file = export(name, tmp_path, nms=True)
    onnx.checker.check_model(file, full_check=True)
    session = open_file(file)
    assert session.outputs == BOXES
    detector, tally, labels = Detector.of(network(name)), Tally(), set[int]()
    for image in (*images(graph).split(1), noise(graph, 1), noise(graph, 2)):
        given = normalised(graph, image).numpy()
        found, reference = session.run(given), detector(given)
        assert (found["boxes"].dtype, found["labels"].dtype) == (np.float32, np.int64)
        assert (np.diff(found["scores"]) <= 0).all()
        assert len(found["scores"]) == len(reference["scores"])
        labels.update(reference["labels"].tolist())
        tally += match(found, reference, CLOSE)
        again = session.run(given)
        assert all(np.array_equal(again[key], found[key]) for key in BOXES)
    assert tally.boxes > 100
    assert len(labels) > 2
    assert tally.matched >= 0.98 * tally.boxes


@pytest.mark.parametrize("name", SSD)
def test_the_detector_as_users_call_it(name: str, tmp_path: Path) -> None:
    graph = network(name).graph
    session = open_file(export(name, tmp_path, nms=True))
    image = images(graph)[0]
    found, reference = session.run(normalised(graph, image[None]).numpy()), torchvision(name, image)
    assert match(found, reference, CLOSE).matched == len(reference["scores"]) > 50


@pytest.mark.parametrize("name", ["ssd", "rcnn"])
def test_nothing_found(name: str, tmp_path: Path) -> None:
    source, changes = NETWORKS[name]
    key = "detector.score_thresh" if name == "ssd" else "detector.box.score_thresh"
    graph = lower(archc.load(source, [*changes, f"{key}=1.0"]))
    archc.export(graph, tmp_path / "net.onnx", state=network(name).state, nms=True, check=False)
    found = open_file(tmp_path / "net.onnx").run(normalised(graph, noise(graph, 1)).numpy())
    assert [found[key].shape for key in BOXES] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize("name", SSD)
@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_raw_predictions_and_anchors(name: str, suffix: str, tmp_path: Path) -> None:
    """From a file's raw predictions and its anchors, by the documented order, to what torchvision's heads give."""
    graph, state, _ = network(name)
    file = tmp_path / f"net{suffix}"
    archc.export(graph, file, state=state)
    found = open_file(file).run(normalised(graph, images(graph)).numpy())
    assert set(found) == {*graph.outputs, ANCHORS}
    np.testing.assert_array_equal(found[ANCHORS], np.concatenate(anchors(graph)))
    kinds = ["joint"] if name == "joint" else ["regression", "classification"]
    rows = [np.concatenate([_rows(graph, found, f"{kind}_{level}") for level in graph.levels], 1) for kind in kinds]
    ours = np.concatenate(rows, axis=-1)
    model = archc.build(graph, state=state).eval()
    with torch.inference_mode():
        levels = list(model.backbone(normalised(graph, images(graph))).values())
        theirs = model.head(levels)
    assert ours.shape[1] == len(found[ANCHORS])
    np.testing.assert_allclose(ours[..., :4], theirs["bbox_regression"], atol=1e-3 * float(ours.max()))
    np.testing.assert_allclose(ours[..., 4:], theirs["cls_logits"], atol=1e-3 * float(ours.max()))


def _rows(graph: Graph, found: dict[str, Array], output: str) -> Array:
    """A level's prediction with one row for each anchor, as the documentation of the anchors says."""
    level = graph.shapes()[graph.outputs[output]]
    assert isinstance(level, Image)
    index = list(graph.levels).index(output.partition("_")[2])
    count = len(anchors(graph)[index]) // (level.height * level.width)
    width = level.channels // count
    rows = np.zeros((len(found[output]), level.height * level.width * count, width), np.float32)
    for y in range(level.height):
        for x in range(level.width):
            for a in range(count):
                rows[:, (y * level.width + x) * count + a] = found[output][:, a * width : (a + 1) * width, y, x]
    return rows


@pytest.mark.parametrize("name", ["ssd", "rcnn"])
def test_check(name: str, tmp_path: Path) -> None:
    graph, state, _ = network(name)
    written = archc.export(graph, tmp_path / "net.onnx", state=state, nms=True, preprocess=True, check=PHOTOGRAPHS)
    assert isinstance(written.checked, Comparison)
    assert written.checked.boxes is not None
    assert written.checked.images == 3
    assert written.checked.boxes.share >= 0.98
    assert written.checked.boxes.boxes > 100
    assert written.checked.worst == written.checked.boxes.score_difference < CLOSE
    assert (written.form.batch, written.form.any_size) == (1, False)
    told = json.loads(json.dumps(written.to_dict()))["check"]["boxes"]
    assert told["boxes"] == written.checked.boxes.boxes


def test_equal_scores_are_told_apart(tmp_path: Path) -> None:
    """Initial weights give all boxes of a class one score: which of them are kept proves nothing."""
    graph = network("ssd").graph
    written = archc.export(graph, tmp_path / "net.onnx", seed=0, nms=True)
    assert written.checked is not None
    assert written.checked.boxes is not None
    assert written.checked.boxes.tied > 0.9 * written.checked.boxes.boxes


def _found(boxes: Sequence[Sequence[float]], labels: Sequence[int], scores: Sequence[float]) -> dict[str, Array]:
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.array(labels, np.int64),
        "scores": np.array(scores, np.float32),
    }


def test_matching() -> None:
    boxes = [[0, 0, 100, 100], [50, 0, 100, 50], [5, 5, 5, 9]]
    theirs = _found(boxes, [1, 2, 2], [0.9, 0.5, 0.4])
    assert match(theirs, theirs, 0) == (3, 3, 0, 0)
    assert match(_found(boxes[::-1], [2, 2, 1], [0.4, 0.5, 0.9]), theirs, 0) == (3, 3, 0, 0)
    moved = _found([[0, 0, 100, 98], [50, 0, 100, 49.98], [5, 5, 5, 9]], [1, 2, 2], [0.9, 0.5, 0.4])
    assert match(moved, theirs, 0) == (3, 2, 0, 0)
    other = _found(boxes, [1, 1, 2], [0.9, 0.5, 0.4])
    assert match(other, theirs, 0) == (3, 2, 0, 0)
    shifted = match(_found(boxes, [1, 2, 2], [0.89, 0.5, 0.4]), theirs, 0.02)
    assert shifted[:3] == (3, 3, 0)
    assert shifted.score_difference == pytest.approx(0.01)
    twice = _found([boxes[0]] * 2, [1, 1], [0.9, 0.8])
    assert match(_found([boxes[0]], [1], [0.9]), twice, 0.2) == (2, 1, 1, 0), "one box stands for one; the last is cut"
    assert match(_found([], [], []), theirs, 0) == (3, 0, 1, 0)
    assert match(theirs, _found([], [], []), 0).share == 1


@pytest.mark.parametrize("name", ["ssd", "joint"])
@pytest.mark.parametrize("preprocess", [False, True])
def test_prediction(name: str, preprocess: bool, tmp_path: Path) -> None:
    """A picture of any size: the boxes of the detector itself, in the picture's pixels.

    A file that takes pixels gets pictures of its own size here: others are rounded to pixels after they are resized.
    """
    graph, state, _ = network(name)
    file = export(name, tmp_path, nms=True, preprocess=preprocess)
    _, height, width = graph.input.shape
    pictures = [picture.resize((width, height)) if preprocess else picture for picture in PHOTOGRAPHS[:2]]
    answers = archc.predict(file, pictures, threshold=0.1)
    theirs = archc.predict(archc.build(graph, state=state), pictures, threshold=0.1)
    for found, reference in zip(answers, theirs, strict=True):
        assert isinstance(found, Detected)
        assert isinstance(reference, Detected)
        tally = match(_arrays(found), _arrays(reference), CLOSE)
        assert tally.boxes > 5
        assert tally.matched >= 0.98 * tally.boxes


def _arrays(found: Detected) -> dict[str, Array]:
    every = found.detections
    return _found([one.box for one in every], [one.index for one in every], [one.score for one in every])


def test_prediction_by_a_faster_rcnn(tmp_path: Path) -> None:
    """A picture of the file's proportions is the network's own; another is fitted, and no box leaves it."""
    graph = network("rcnn").graph
    file = export("rcnn", tmp_path, nms=True)
    fitting = PHOTOGRAPHS[0].resize((160, 128))
    (found,) = archc.predict(file, fitting, threshold=0.06)
    assert isinstance(found, Detected)
    given = normalised(graph, images(graph, [fitting])).numpy()
    reference = Detector.of(network("rcnn"))(given)
    kept = reference["scores"] >= 0.06
    tally = match(_arrays(found), {key: value[kept] for key, value in reference.items()}, CLOSE)
    assert tally.boxes > 20
    assert tally.matched >= 0.98 * tally.boxes
    (tall,) = archc.predict(file, PHOTOGRAPHS[0].crop((0, 0, 200, 500)), threshold=0.06)
    assert isinstance(tall, Detected)
    boxes = _arrays(tall)["boxes"]
    assert len(boxes) > 5
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 200.001
    assert boxes[:, 3].max() <= 500.001


def test_command(tmp_path: Path) -> None:
    file, picture, drawn = export("ssd", tmp_path, nms=True), tmp_path / "cup.png", tmp_path / "drawn.png"
    PHOTOGRAPHS[1].save(picture)
    run = CliRunner().invoke(main, ["predict", str(file), str(picture), "--top", "3", "--threshold", "0.01", "--json"])
    assert run.exit_code == 0, run.output
    assert '"detections"' in run.output
    run = CliRunner().invoke(main, ["predict", str(file), str(picture), "-o", str(drawn), "--threshold", "0.01"])
    assert run.exit_code == 0, run.output
    assert drawn.stat().st_size > 0


def test_prediction_is_refused(tmp_path: Path) -> None:
    raw = export("ssd", tmp_path)
    with pytest.raises(PredictionError, match=r"raw predictions of a detector's heads.*"):
        archc.predict(raw, PHOTOGRAPHS[0])
    (tmp_path / "boxes").mkdir()
    file = export("joint", tmp_path / "boxes", nms=True)
    with pytest.raises(PredictionError, match="drops boxes that score less than"):
        archc.predict(file, PHOTOGRAPHS[0], threshold=0.001)


def test_refusals(tmp_path: Path) -> None:
    graph, state, _ = network("ssd")
    refused: list[tuple[dict[str, object], str]] = [
        ({"batch": 3}, "one image at a time"),
        ({"any_size": True}, "one image at a time, of one size"),
    ]
    for options, message in refused:
        with pytest.raises(SpecError, match=message) as error:
            archc.export(graph, tmp_path / "net.onnx", state=state, nms=True, **options)
        assert [diagnostic.id for diagnostic in error.value.diagnostics] == ["unsupported-form"]
    with pytest.raises(SpecError, match="takes images of one size only"):
        archc.export(graph, tmp_path / "net.onnx", state=state, any_size=True)
    with pytest.raises(SpecError, match="raw predictions, and no boxes"):
        archc.export(graph, tmp_path / "net.tflite", state=state, nms=True)
    with pytest.raises(SpecError, match="is no detector"):
        archc.export("mnv3_small", tmp_path / "net.onnx", seed=0, nms=True)
    with pytest.raises(SpecError, match="one image at a time"):
        emitter("onnx").emit(graph, state, tmp_path / "net.onnx", Form(boxes=True))
    classifier = lower(archc.load("mnv3_small"))
    weights = {key: np.zeros(weight.shape, np.float32) for key, weight in classifier.tensors()}
    with pytest.raises(SpecError, match="is no detector"):
        emitter("onnx").emit(classifier, weights, tmp_path / "net.onnx", Form(boxes=True, batch=1))
    assert list(tmp_path.iterdir()) == []
