"""Name maps as data: names follow levels, stages and groups, and users add maps of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

import archc
from archc.weights import register_map
from archc.weights.checkpoint import Checkpoint, tensor
from archc.weights.explaining.policy import expectations
from archc.weights.naming import schemes
from archc.weights.naming.places import places
from archc.weights.naming.schemes import of_library
from tests.backends.torch.detectors import peer as detector
from tests.weights.conftest import named


def inserted(stage: str, number: int = 1) -> archc.Spec:
    """torchvision's SSDlite with further rows at the end of a stage, each like the last one there."""
    spec = archc.load("ssdlite320_mnv3_large")
    rows = spec.stages[stage]
    return spec.replace(stages=type(spec.stages)({**spec.stages, stage: (*rows, *[rows[-1]] * number)}))


@pytest.mark.parametrize("number", [1, 2])
def test_a_row_before_a_level_moves_the_split(number: int) -> None:
    """torchvision cuts its list of blocks where the first level is taken, wherever that is."""
    names = set(named(archc.build(inserted("c4", number), seed=0), "torchvision"))
    row = 13 + number
    assert {f"backbone.features.0.{row - 1}.block.0.0.weight", f"backbone.features.0.{row}.0.weight"} <= names
    assert {"backbone.features.1.0.1.0.weight", "backbone.features.1.0.3.0.weight"} <= names
    assert "backbone.features.1.3.0.weight" in names  # two more blocks of c5, and the convolution at the end
    assert not any(name.startswith((f"backbone.features.0.{row + 1}.", "backbone.features.1.4.")) for name in names)


def test_a_row_after_a_level_is_in_the_next_segment() -> None:
    names = set(named(archc.build(inserted("c5"), seed=0), "torchvision"))
    assert "backbone.features.1.4.0.weight" in names
    assert not any(name.startswith("backbone.features.0.14") for name in names)


def test_the_places_of_a_detectors_rows() -> None:
    found = {place.row_name: place for place in places(archc.lower(archc.load("ssdlite320_mnv3_large")))}
    assert [(found[row].segment, found[row].position) for row in ("stem.0", "c4.5", "c5.0", "c5.1")] == [
        (0, 0), (0, 12), (0, 13), (1, 1),
    ]  # fmt: skip
    assert (found["c5.0"].split, found["c5.1"].split) == ("expand", "")
    assert (found["classification.5"].index, found["classification.5"].last, found["classification.4"].last) == (
        5, True, False,
    )  # fmt: skip
    assert (found["extra.3"].head, found["extra.3"].heads) == (3, 4)


def test_a_level_from_a_whole_row_splits_none() -> None:
    spec = archc.load("ssdlite320_mnv3_large", ["outputs.0=c4"])
    names = set(named(archc.build(spec, seed=0), "torchvision"))
    assert {"backbone.features.0.12.block.0.0.weight", "backbone.features.1.0.block.0.0.weight"} <= names


def test_a_level_from_another_part_has_no_name() -> None:
    spec = archc.load("ssdlite320_mnv3_large", ["outputs.0=c5.0.depthwise"])
    with pytest.raises(archc.WeightsError, match=r"there is no name for `c5\.0\.expand\.conv`"):
        named(archc.build(spec, seed=0), "torchvision")


def test_cvnets_last_level_is_the_last_not_the_sixth() -> None:
    spec = archc.load("ssdlite_mobilevit_s", ["~outputs.64", "detector.head.kernel=[3, 3, 3, 3, 1]",
        "detector.head.project=[512, 256, 128, 128, 64]",
        "detector.boxes.aspect_ratios=[[2, 3], [2, 3], [2, 3], [2, 3], [2]]",
        "detector.boxes.scales=[0.1, 0.35, 0.5, 0.65, 0.8, 0.95]"])  # fmt: skip
    names = set(named(archc.build(spec, seed=0), "cvnets"))
    assert "ssd_heads.4.loc_cls_layer.block.conv.weight" in names
    assert "ssd_heads.3.loc_cls_layer.pw_conv.block.conv.weight" in names


def test_a_detectors_state_dict_is_read_under_torchs_own_names() -> None:
    model = archc.build("ssdlite320_mnv3_large", seed=0)
    again = archc.build("ssdlite320_mnv3_large", device="meta")
    report = archc.load_weights(again, model.state_dict())
    assert (report.source, report.tensors) == ("archc", len(detector("ssdlite320_mnv3_large").state_dict()))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_network_without_a_neck_has_timms_names() -> None:
    """MobileNetV1 (Howard et al. 2017, arXiv:1704.04861, table 1), whose blocks come right before the pool."""
    table = {"c2": [(128, 2), (128, 1)], "c3": [(256, 2), (256, 1)], "c4": [(512, 2), *[(512, 1)] * 5],
             "c5": [(1024, 2), (1024, 1)]}  # fmt: skip
    block = {"block": "inverted_residual", "expand": "1x", "residual": False}
    spec = {
        "name": "mobilenet_v1",
        "act": "relu6",
        "input": {"mean": 0.5, "std": 0.5},
        "norm": {"momentum": 0.1},
        "stages": {
            "stem": [{"block": "conv", "kernel": 3, "out": 32, "stride": 2}],
            "c1": [{**block, "out": 64}],
            **{name: [{**block, "out": out, "stride": stride} for out, stride in rows] for name, rows in table.items()},
            "head": [{"block": "pool"}, {"block": "linear", "out": 1000}],
        },
    }
    with torch.device("meta"):
        peer = timm.create_model("mobilenetv1_100").state_dict()
    model = archc.build(spec, device="meta")
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in peer.items()}
    report = archc.load_weights(model, state)
    assert (report.naming, report.params, report.tensors) == ("mobilenet_v1", 4_231_976, len(peer))


OWN: dict[str, Any] = {
    "library": "mylib",
    "schemes": {
        "net": {
            "signature": ["first.conv.weight"],
            "policies": [{"name": "mylib", "eps": [1e-3]}],
            "rows": [
                {"at": "stem", "row": 0, "name": "first", "parts": {"conv": "conv", "norm": "bn"}},
                {"at": "head", "heads": 1, "name": "last", "as": "matrix", "parts": {"linear": ""}},
            ],
        }
    },
}
TINY = {
    "name": "tiny",
    "stages": {
        "stem": [{"block": "conv", "kernel": 3, "out": 8, "stride": 2}],
        "head": [{"block": "pool"}, {"block": "linear", "out": 5}],
    },
}


@pytest.fixture
def registry() -> Iterator[None]:
    """Forget what a test registers."""
    yield
    schemes._registered.clear()
    schemes._register_environment.cache_clear()


@pytest.mark.usefixtures("registry")
def test_users_add_maps(tmp_path: Path) -> None:
    model = archc.build(TINY, seed=0)
    with pytest.raises(archc.WeightsError, match="no source of weights `mylib`"):
        archc.save_weights(model, tmp_path / "a.safetensors", "mylib")
    (tmp_path / "mylib.yaml").write_text(yaml.safe_dump(OWN))
    assert register_map(tmp_path / "mylib.yaml") == register_map(OWN) == "mylib"  # a notebook's cell may run twice
    written = archc.save_weights(model, tmp_path / "a.safetensors", "mylib")
    assert set(written) >= {"first.conv.weight", "first.bn.running_mean", "last.weight", "last.bias"}
    again = archc.build(TINY, device="meta")
    assert archc.load_weights(again, tmp_path / "a.safetensors").source == "mylib"
    assert torch.equal(again.state_dict()["head.1.linear.weight"], model.state_dict()["head.1.linear.weight"])


@pytest.mark.usefixtures("registry")
def test_maps_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mylib.yaml").write_text(yaml.safe_dump(OWN))
    monkeypatch.setenv("ARCHC_MAPS", str(tmp_path / "mylib.yaml"))
    assert [scheme.name for scheme in of_library("mylib")] == ["net"]


@pytest.mark.usefixtures("registry")
def test_a_map_may_build_on_a_bundled_one() -> None:
    register_map({"library": "fork", "schemes": {"net": {
        "extends": "torchvision/mobilenet_v3", "moved": {"from": "features", "to": "body"},
        "signature": ["body.0.0.weight"],
        "rows": [{"at": "head", "heads": 2, "head": 0, "name": "head.0", "parts": {"linear": ""}},
                 {"at": "head", "heads": 2, "head": 1, "name": "head.1", "parts": {"linear": ""}}],
    }}})  # fmt: skip
    names = set(named(archc.build("mnv3_small", seed=0), "fork"))
    assert {"body.0.0.weight", "body.1.block.0.0.weight", "head.0.weight", "head.1.bias"} <= names


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: {**data, "library": "timm"}, "`timm`, which archc has"),
        (lambda data: {"library": "x"}, "is no name map"),
        (lambda data: {**data, "schemes": {"a": {"signature": [], "policies": []}}}, "a.rows|rows: Field required"),
        (lambda data: {**data, "schemes": {"a": {"same_as": "b"}}}, "KeyError"),
        (lambda data: {**data, "schemes": {"a": {"extends": "a", "rows": []}}}, "mistakes"),
        (lambda data: _renamed(data, "first.{rows}"), "is no field of a name"),
        (lambda data: _renamed(data, "first.{row"), "brace that belongs to no field"),
    ],
)
def test_mistakes_in_maps_are_told(change: Any, said: str) -> None:
    with pytest.raises(archc.WeightsError, match=said) as caught:
        register_map(change(OWN))
    assert caught.value.diagnostics[0].id == "weights-map"


def _renamed(data: dict[str, Any], name: str) -> dict[str, Any]:
    scheme = data["schemes"]["net"]
    return {**data, "schemes": {"net": {**scheme, "rows": [{**scheme["rows"][0], "name": name}]}}}


def test_a_map_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    for path, said in ((tmp_path / "bad.yaml", "is no YAML"), (tmp_path / "none.yaml", "cannot be read")):
        with pytest.raises(archc.WeightsError, match=said):
            register_map(path)


@pytest.mark.parametrize(
    ("model", "file", "policies"),
    [
        ("mobilenetv3_rw", "", ["timm's mobilenetv3_rw"]),
        ("mobilenetv3_large_100", "", ["timm", "timm's tf_*"]),
        ("fbnetv3_b", "", ["timm", "timm's tf_*"]),
        ("efficientnet_b1_pruned", "effnetb1_pruned-bea43a3a.pth", ["timm's tf_*"]),
        ("efficientnet_b3_pruned", "efficientnet_b3_pruned.in1k.safetensors", ["timm's tf_*"]),
    ],
)
def test_networks_that_timm_trained_otherwise(model: str, file: str, policies: list[str]) -> None:
    with torch.device("meta"):
        state = timm.create_model(model).state_dict()
    tensors = {name: found for name, value in state.items() if (found := tensor(value))}
    (scheme,) = (scheme for scheme in of_library("timm") if scheme.signs("\n".join(state)))
    assert [policy.name for policy in expectations(scheme, Checkpoint(tensors, file))] == policies
