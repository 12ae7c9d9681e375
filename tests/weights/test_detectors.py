"""Detectors' weights: torchvision's names now and of the files that it offers, ml-cvnets', parts of them, and out."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch
import torchvision.models as tv

import archc
from archc.weights.error import WeightsWarning
from tests.backends.torch.detectors import PEERS, peer
from tests.backends.torch.peers import shake
from tests.weights.conftest import named

NAMINGS = {
    "fasterrcnn_mnv3_large_320_fpn": "mobilenet_v3_fasterrcnn",
    "ssdlite320_mnv3_large": "mobilenet_v3_ssdlite",
    "fasterrcnn_mnv3_large_fpn": "mobilenet_v3_fasterrcnn",
    "fasterrcnn_resnet50_fpn": "resnet_fasterrcnn",
}


@pytest.mark.parametrize("name", PEERS)
def test_torchvisions_names_in_and_out(name: str) -> None:
    state = peer(name).state_dict()
    model = archc.build(name, device="meta")
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeightsWarning)
        report = archc.load_weights(model, state)
    assert (report.source, report.naming, report.tensors) == ("torchvision", NAMINGS[name], len(state))
    assert report.params == archc.report(name).params
    back = named(model, "torchvision")
    assert back.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in back.items())


@pytest.mark.parametrize("name", ["fasterrcnn_mnv3_large_320_fpn", "fasterrcnn_resnet50_fpn"])
def test_the_names_in_the_files_that_torchvision_offers(name: str) -> None:
    """They are older than the modules around the layers of its pyramid and its proposal head."""
    old = {
        re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", key).replace("rpn.head.conv.0.0.", "rpn.head.conv."): value
        for key, value in peer(name).state_dict().items()
    }
    assert {"backbone.fpn.inner_blocks.0.weight", "rpn.head.conv.weight"} <= old.keys()
    PEERS[name]().load_state_dict(old)  # which torchvision reads, too: they are its own
    model = archc.build(name, device="meta")
    report = archc.load_weights(model, old)
    assert report.naming == f"{NAMINGS[name]}_before_0_12"
    back = named(model, "torchvision")
    assert all(torch.equal(value, back[key]) for key, value in peer(name).state_dict().items())


def test_another_number_of_classes_keeps_the_rest() -> None:
    name = "fasterrcnn_mnv3_large_320_fpn"
    state = peer(name).state_dict()
    model = archc.build(archc.load(name, ["num_classes=3"]), seed=0)
    with pytest.raises(archc.WeightsError, match="fits with `num_classes=91`"):
        archc.load_weights(model, state)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = archc.load_weights(model, state, partial="roi_heads.box_predictor")
    after = model.state_dict()
    left = {key for key in after if key.startswith("roi_heads.box_predictor.")}
    assert set(report.left) == left
    assert all(torch.equal(after[key], before[key]) for key in left)
    assert torch.equal(after["roi_heads.box_head.fc6.0.linear.weight"], state["roi_heads.box_head.fc6.weight"])
    with pytest.raises(archc.WeightsError, match="did you mean `roi_heads"):
        archc.load_weights(model, state, partial="roi_head")


def test_a_classifiers_weights_are_a_detectors_backbone() -> None:
    """Frozen norms take the numbers that were trained, and leave out how many batches it took."""
    torch.manual_seed(0)
    classifier = shake(tv.mobilenet_v3_large())
    name = "fasterrcnn_mnv3_large_320_fpn"
    model = archc.build(name, seed=0)
    before = model.state_dict()["backbone.fpn.0.inner0.conv.weight"].clone()
    with pytest.warns(WeightsWarning, match="eps"):
        report = archc.load_weights(model, classifier.state_dict(), partial=["fpn", "rpn", "roi_heads"])
    assert report.naming == "mobilenet_v3"
    backbone = archc.build(archc.load("mnv3_large", ["outputs=[c4,c5]"]), seed=0)
    archc.load_weights(backbone, classifier.state_dict())
    ours, theirs = model.state_dict(), backbone.state_dict()
    shared = [key for key in theirs if not key.endswith("num_batches_tracked")]
    assert len(shared) > 200
    assert all(torch.equal(ours[f"backbone.{key}"], theirs[key]) for key in shared)
    assert torch.equal(before, ours["backbone.fpn.0.inner0.conv.weight"])


def test_fewer_levels_leave_the_others_weights_out() -> None:
    name = "fasterrcnn_mnv3_large_320_fpn"
    model = archc.build(archc.load(name, ["~outputs.1", "~outputs.pool"]), seed=0)
    report = archc.load_weights(model, peer(name).state_dict())
    assert set(report.pruned) == {f"backbone.fpn.layer_blocks.1.0.{end}" for end in ("weight", "bias")}


def test_a_module_that_was_changed_is_refused(tmp_path: Path) -> None:
    model = archc.build("ssdlite320_mnv3_large", seed=0)
    model.head.regression_head.module_list[0] = torch.nn.Conv2d(672, 24, 1)
    with pytest.raises(archc.WeightsError, match="was changed after it was built"):
        archc.save_weights(model, tmp_path / "a.safetensors")


def test_cvnets_names() -> None:
    """By `cvnets/models/detection/ssd.py` and `cvnets/modules/ssd_heads.py`; ml-cvnets itself is not installed."""
    model = archc.build("ssdlite_mobilevit_s", seed=0)
    state = named(model, "cvnets")
    tails = {key.rsplit(".", 1)[0] for key in state if not key.startswith("encoder.")}
    extras = {f"extra_layers.os_{stride}.{part}" for stride in (64, 128, 256) for part in SEPARABLE}
    heads = {f"ssd_heads.{level}.loc_cls_layer.{part}" for level in range(5) for part in SEPARABLE}
    heads -= {f"ssd_heads.{level}.loc_cls_layer.pw_conv.block.norm" for level in range(5)}
    projections = {f"ssd_heads.{level}.proj_layer.block.{part}" for level in (0, 1) for part in ("conv", "norm")}
    ends = {"extra_layers.os_-1.1.block.conv", "ssd_heads.5.loc_cls_layer.block.conv"}
    assert tails == extras | heads | projections | ends
    assert "extra_layers.os_-1.1.block.conv.bias" not in state
    assert state["ssd_heads.5.loc_cls_layer.block.conv.weight"].shape == (4 * (4 + 81), 64, 1, 1)
    report = archc.load_weights(archc.build("ssdlite_mobilevit_s", device="meta"), state)
    assert (report.source, report.naming, report.tensors) == ("cvnets", "mobilevit_ssd", len(state))


SEPARABLE = ("dw_conv.block.conv", "dw_conv.block.norm", "pw_conv.block.conv", "pw_conv.block.norm")


def test_a_joint_prediction_is_apart_what_it_is_together() -> None:
    """Default boxes as ml-cvnets orders them: of each, four deltas, then a score for every class."""
    model = archc.build("ssdlite_mobilevit_s", seed=0).eval()
    levels = [torch.randn(1, channels, 2, 3) for channels in (128, 160, 256, 128, 128, 64)]
    with torch.inference_mode():
        found = model.head(levels)
        maps = [net(x) for net, x in zip(model.head.joint_head.module_list, levels, strict=True)]
    expected = torch.cat([y.permute(0, 2, 3, 1).reshape(1, -1, 4 + 81) for y in maps], 1)
    assert torch.equal(found["bbox_regression"], expected[..., :4])
    assert torch.equal(found["cls_logits"], expected[..., 4:])
