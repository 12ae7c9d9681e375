"""The task follows from the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import archc
from archc.prediction.errors import PredictionError
from archc.prediction.images import Preparation
from archc.prediction.task import Task, task_of


def decided(source: Any, *overrides: str) -> Task:
    spec = archc.load(source, overrides)
    return task_of(archc.lower(spec), spec)


@pytest.mark.parametrize("name", ["mnv3_small", "mobilevit_xxs", "resnet50", "efficientnet_lite0"])
def test_bundled_classifiers(name: str) -> None:
    assert decided(name) == Task("classes", 1000)
    assert decided(name, "num_classes=7") == Task("classes", 7)


@pytest.mark.parametrize(
    "name",
    [
        "lraspp_mnv3_large",
        "deeplabv3_mnv3_large",
        "fcn_mnv3_large",
        "deeplabv3_resnet50",
        "fcn_resnet50",
        "deeplabv3_mobilevit_s",
    ],
)
def test_bundled_segmentation_networks(name: str) -> None:
    assert decided(name) == Task("mask", 21, "out")
    assert decided(name, "num_classes=4") == Task("mask", 4, "out")


def tiny(*rows: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"stages": {"a": [{"block": "conv", "out": 4}], "b": list(rows)}, "input": {"crop": 1.0}, **keys}


CONV = {"block": "conv", "out": 6}
VECTOR = ({"block": "pool"}, {"block": "linear", "out": 6})


def test_a_network_that_states_its_own_width() -> None:
    assert decided(tiny(*VECTOR)) == Task("classes", 6)
    assert decided(tiny(CONV)) == Task("mask", 6)
    assert decided(tiny(CONV, outputs={"out": "b"})) == Task("mask", 6, "out")


def test_scores_of_a_lower_resolution_are_a_mask() -> None:
    assert decided(tiny({**CONV, "stride": 4}, num_classes=6)) == Task("mask", 6)


def test_out_is_meant_else_the_first() -> None:
    spec = tiny(*VECTOR, num_classes=6)
    assert decided({**spec, "outputs": {"features": "a", "out": "b"}}) == Task("classes", 6, "out")
    assert decided({**spec, "outputs": ["b", "a"]}) == Task("classes", 6, "b")
    assert decided("mnv3_small", "outputs={x: head}") == Task("classes", 1000, "x")
    with pytest.raises(PredictionError, match="returns features: 4×"):
        decided(
            {
                **spec,
                "input": {"size": 32},
                "stages": {**spec["stages"], "a": [{**CONV, "out": 4, "stride": 2}]},
                "outputs": ["a", "b"],
            }
        )


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("mnv3_small", ["outputs=[c3,c5]"], "returns features: 24×28×28 at `c3.1.add`, but `num_classes` is 1,000"),
        ("mnv3_small", ["outputs=c4"], "returns features: 48×14×14"),
        ("mnv3_small", ["outputs=head.1"], "returns features: 1,024 numbers at "),
        ("mnv3_small", ["~stages.head", "~dropout"], "returns features: 576×7×7"),
        ("mnv3_small", ["~stages.head.3", "~stages.head.2", "~stages.head.1", "~dropout"], "576×1×1"),
        (
            "mnv3_small",
            ["num_classes=576", "~stages.head", "~dropout", "input.size=32"],
            "576×1×1 at `c5.3.act`: neither a vector of classes, nor a mask",
        ),
        ("lraspp_mnv3_large", ["outputs=[c3,c5]"], "returns features: 40×65×65"),
        ("lraspp_mnv3_large", ["num_classes=1"], "returns one channel, but a mask needs"),
    ],
)
def test_features_are_no_prediction(name: str, overrides: list[str], message: str) -> None:
    with pytest.raises(PredictionError) as caught:
        decided(name, *overrides)
    diagnostic = caught.value.diagnostic
    assert diagnostic.id == "not-a-classifier"
    assert message in diagnostic.message
    assert ("`outputs`" in diagnostic.help) == (overrides[0].startswith("outputs"))
    assert bool(diagnostic.notes) == (overrides[0] == "outputs=[c3,c5]")


def test_a_mask_covers_the_whole_image() -> None:
    with pytest.raises(PredictionError) as caught:
        decided("lraspp_mnv3_large", "input.crop=0.875")
    diagnostic = caught.value.diagnostic
    assert diagnostic.id == "mask-crop"
    assert "`input.crop` cannot be 0.875" in diagnostic.message
    assert diagnostic.span is not None
    assert diagnostic.span.source.kind == "override"


def test_a_classifiers_crop_is_no_masks(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: [mnv3_small, _self_]\nstages: {head: [{block: fcn, out: 1000}]}\ndropout: 0.0\n")
    spec = archc.load(file)
    assert spec.input.crop == 0.875
    assert task_of(archc.lower(spec), spec).kind == "mask"
    assert Preparation(spec.input, whole=True).before_crop == [224, 224]
    assert Preparation(spec.input).before_crop == [256, 256]
