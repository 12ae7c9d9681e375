"""`partial`: load all but what is named, and say exactly what was left."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision.models as tv

import archc
from tests.backends.torch.peers import shake


@pytest.mark.parametrize("make", [lambda: tv.mobilenet_v3_small(), lambda: timm.create_model("mobilenetv3_small_100")])
@pytest.mark.filterwarnings("ignore::archc.SpecWarning")
def test_all_but_a_new_classifier(make: object) -> None:
    peer = shake(make())  # type: ignore[operator]
    model = archc.build(archc.load("mnv3_small", ["num_classes=21"]), seed=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = archc.load_weights(model, peer.state_dict(), partial="head")
    head = [name for name in before if name.startswith("head.")]
    assert list(report.left) == head
    assert sum(value.numel() for name, value in peer.state_dict().items() if name in report.skipped) == 1_615_848
    assert report.tensors + len(report.skipped) == len(peer.state_dict())
    whole = archc.build("mnv3_small", device="meta")
    archc.load_weights(whole, peer.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in head else whole.state_dict()[name]), name
    assert "left as it was: head.1.linear.weight" in str(report)


def test_single_rows_can_be_left() -> None:
    peer = tv.mobilenet_v3_small()
    model = archc.build(archc.load("mnv3_small", ["num_classes=21"]))
    report = archc.load_weights(model, peer.state_dict(), partial=["head.3"])
    assert report.left == ("head.3.linear.weight", "head.3.linear.bias")
    assert report.skipped == ("classifier.3.weight", "classifier.3.bias")


def test_a_head_of_another_form_is_skipped_as_well() -> None:
    # torchvision's two layers, where this network has one
    model = archc.build(archc.load("mnv3_small", ["~stages.head.1"]))
    report = archc.load_weights(model, tv.mobilenet_v3_small().state_dict(), partial="head")
    assert report.skipped == tuple(f"classifier.{n}.{w}" for n in (0, 3) for w in ("weight", "bias"))


def test_a_network_without_a_head_needs_none() -> None:
    model = archc.build(archc.load("mnv3_small", ["~stages.head", "~dropout", "tail=[c5]"]))
    peer = tv.mobilenet_v3_small().state_dict()
    report = archc.load_weights(model, peer)
    assert report.pruned == tuple(f"classifier.{n}.{w}" for n in (0, 3) for w in ("weight", "bias"))
    with pytest.raises(archc.WeightsError, match=r"`aux` \(1\)"):
        archc.load_weights(model, {**peer, "aux.weight": torch.zeros(3)})


def test_what_is_left_does_not_excuse_the_rest() -> None:
    model = archc.build(archc.load("mnv3_small", ["num_classes=21"]))
    with pytest.raises(archc.WeightsError, match=r"width_mult=0.75") as caught:
        archc.load_weights(model, tv.mobilenet_v3_small(width_mult=0.75).state_dict(), partial="head")
    assert "num_classes" not in caught.value.diagnostics[0].help


def test_modules_of_a_detector_can_be_left() -> None:
    state = tv.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict()
    model = archc.build(archc.load("ssdlite320_mnv3_large", ["num_classes=5"]), seed=0)
    for name in ("head.classification_head", "classification"):
        report = archc.load_weights(model, state, partial=name)
        assert (report.tensors, len(report.left), len(report.skipped)) == (428, 48, 48)
        assert report.left[0] == "head.classification_head.module_list.0.depthwise.conv.weight"
    with pytest.raises(archc.WeightsError, match=r"fits with `num_classes=91`"):
        archc.load_weights(model, state, partial="backbone")  # whose norms' counters are in no total


def test_a_stage_that_does_not_exist() -> None:
    with pytest.raises(archc.WeightsError, match="did you mean `head`") as caught:
        archc.load_weights(archc.build("mnv3_small"), {}, partial="heda")
    assert caught.value.diagnostics[0].id == "weights-partial"
