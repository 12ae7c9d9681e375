"""`detector:` in a spec: defaults, what fits the levels, and where mistakes are told."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import archc
from archc.ir import ops
from archc.language.detector import FasterRcnn, Ssd
from archc.reporting.model import Report
from tests.language.helpers import BUNDLED, Folder, only, pointed, problems

DETECTORS = [name for name in BUNDLED if archc.load(name).detector is not None]
RCNN = "fasterrcnn_resnet50_fpn"
MOBILE = "fasterrcnn_mnv3_large_320_fpn"

SMALL = """name: small
input: {size: 64}
num_classes: 3
stages:
  c1:
    - {block: conv, out: 8, stride: 4}
    - {block: conv, out: 8, stride: 2}
outputs: {a: c1.0, b: c1.1}
detector:
  kind: ssd
"""


def test_the_bundled_detectors() -> None:
    assert {
        "fasterrcnn_mnv3_large_320_fpn", "fasterrcnn_mnv3_large_fpn", "fasterrcnn_resnet50_fpn",
        "ssdlite320_mnv3_large", "ssdlite_mobilevit_s",
    } <= set(DETECTORS)  # fmt: skip


def test_every_default_is_torchvisions() -> None:
    detection: Any = pytest.importorskip("torchvision.models.detection")
    ours = FasterRcnn(kind="faster_rcnn")
    stated: dict[str, Any] = {
        "min_size": ours.resize.min_size[0],
        "max_size": ours.resize.max_size,
        **{f"rpn_{name}": getattr(ours.rpn, name) for name in type(ours.rpn).model_fields},
        **{f"box_{name}": getattr(ours.box, name) for name in type(ours.box).model_fields},
    }
    theirs = inspect.signature(detection.FasterRCNN).parameters
    compared = {name: stated[name] for name in theirs if name in stated}
    assert compared == {name: theirs[name].default for name in compared}
    # What is left of torchvision's arguments is the network itself, and modules that are made of other keys.
    rest = {name for name in theirs if name not in stated and not name.startswith("image_")}
    assert rest == {
        "backbone", "num_classes", "rpn_anchor_generator", "rpn_head", "box_roi_pool", "box_head", "box_predictor",
        "bbox_reg_weights", "kwargs",
    }  # fmt: skip
    ssd, theirs = Ssd(kind="ssd"), inspect.signature(detection.ssd.SSD).parameters
    shared = [name for name in theirs if name in Ssd.model_fields and name != "head"]
    assert len(shared) == 6
    assert {name: getattr(ssd, name) for name in shared} == {name: theirs[name].default for name in shared}
    boxes = inspect.signature(detection.anchor_utils.DefaultBoxGenerator).parameters
    for name in ("min_ratio", "max_ratio", "scales", "steps", "clip"):
        assert getattr(ssd.boxes, name) == boxes[name].default


@pytest.mark.parametrize(
    ("override", "at", "value"),
    [
        ("detector.rpn.post_nms_top_n_test=300", ("rpn", "post_nms_top_n_test"), 300),
        ("detector.box.score_thresh=0.2", ("box", "score_thresh"), 0.2),
        ("detector.resize.min_size=[256,320]", ("resize", "min_size"), (256, 320)),
        ("detector.rpn.init.bias=uniform_fan_in", ("rpn", "init", "conv"), ("normal", 0.01)),
        ("detector.anchors.sizes=[16,32]", ("anchors", "sizes"), ((16.0, 32.0),)),
    ],
)
def test_knobs_are_overrides(override: str, at: tuple[str, ...], value: object) -> None:
    found: Any = archc.load(MOBILE, [override]).detector
    for name in at:
        found = getattr(found, name)
    assert found == value


def test_the_price_of_a_proposal_is_visible() -> None:
    """The box head runs once for each: 12544·1024 + 1024·1024 + 1024·(91 + 364) multiply-accumulates."""
    each = 12544 * 1024 + 1024 * 1024 + 1024 * (91 + 364)
    reports = {count: report_of([f"detector.rpn.post_nms_top_n_test={count}"]) for count in (50, 150)}
    assert reports[150].macs - reports[50].macs == 100 * each
    assert reports[150].params == reports[50].params == 19_386_354
    assert sum(head.macs_each for head in reports[150].heads if head.on == "proposals") == each
    assert {head.times for head in reports[150].heads if head.on == "proposals"} == {150}


def test_no_more_proposals_than_anchors() -> None:
    """At 64×64 the pyramid is 2×2, 2×2 and 1×1 of 15 anchors."""
    report = report_of(["input.size=64", "detector.rpn.post_nms_top_n_test=1000"])
    assert {head.times for head in report.heads if head.on == "proposals"} == {15 * (4 + 4 + 1)}


def report_of(overrides: list[str]) -> Report:
    return archc.report(archc.load(MOBILE, overrides))


@pytest.mark.parametrize("name", DETECTORS)
def test_layers_add_up(name: str) -> None:
    told = archc.report(name).to_dict()
    for key in ("params", "macs"):
        assert told[key] == sum(layer[key] for layer in told["layers"])
    heads = [layer for layer in told["layers"] if "on" in layer]
    for key in ("params", "macs"):
        assert sum(head[key] for head in told["heads"]) == sum(layer[key] for layer in heads)
    assert {layer["on"] for layer in heads} <= {*told["outputs"], "proposals"}
    assert all(head["macs"] == head["times"] * head["macs_each"] for head in told["heads"])


def test_fewer_levels() -> None:
    """One list of anchors stands for every level, so one level less is one override."""
    spec = archc.load(MOBILE, ["~outputs.pool"])
    graph = archc.lower(spec)
    assert [region.level for region in graph.regions if region.stage == "rpn"] == ["0", "1"]
    assert "fpn.0.pool" not in graph.shapes()


MISTAKES: list[tuple[str, list[str], str, str, str]] = [
    # spec, overrides, id, what the caret is under, the message
    (RCNN, ["~outputs.pool"], "anchor-levels", "[[32], [64]", "`sizes` is of 5 levels, but the outputs are 4 levels"),
    (
        RCNN, ["detector.anchors.aspect_ratios=[[1],[2]]"], "anchor-levels", "[[1],[2]]",
        "`aspect_ratios` is of 2 levels, but the outputs are 5 levels",
    ),
    (
        MOBILE, ["detector.anchors.sizes=[[8],[8,16],[8]]"], "anchor-levels", "[[8],[8,16],[8]]",
        "every level needs as many anchors at a position, not 3, 6",
    ),
    (
        "ssdlite320_mnv3_large", ["detector.boxes.scales=[0.1,0.2]"], "anchor-levels", "[0.1,0.2]",
        "`scales` is of 2 levels, but the outputs are 6 levels and one more",
    ),
    ("ssdlite320_mnv3_large", ["detector.head.kernel=[3,3]"], "anchor-levels", "[3,3]", "`kernel` is of 2 levels"),
    (MOBILE, ["detector.anchors.sizes=[]"], "invalid-value", "[]", "`sizes` is empty: a level needs anchors"),
    (MOBILE, ["detector.box.levels=[p2]"], "unknown-reference", "[p2]", "`levels` names none of the outputs"),
    (MOBILE, ["num_classes=1"], "invalid-value", "1", "a detector needs two classes or more"),
    (MOBILE, ["detector.kind=rcnn"], "invalid-value", "rcnn", "`kind` cannot be `rcnn`"),
    (MOBILE, ["detector.box.score_tresh=0.1"], "unknown-key", "score_tresh", "not a key of `box`"),
    ("ssdlite320_mnv3_large", ["detector.rpn={}"], "unknown-key", "detector.rpn", "`rpn` is not a key of `detector`"),
    (MOBILE, ["detector.rpn.nms_thresh=1.5"], "invalid-value", "1.5", "`nms_thresh` must be at most 1"),
    (MOBILE, ["outputs.1=c5"], "shape", "c5", "all levels share one head, but their channels differ"),
    (MOBILE, ["outputs.1=fpn.0.layer9"], "unknown-reference", "fpn.0.layer9", "row `fpn.0` has no part `layer9`"),
    (MOBILE, ["outputs.1=c7"], "unknown-reference", "c7", "there is no stage `c7`"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "overrides", "id", "under", "message"), MISTAKES)
def test_mistakes_are_told_where_they_are(name: str, overrides: list[str], id: str, under: str, message: str) -> None:
    problem = problems(name, overrides)[0]
    assert problem.id == id
    assert message in problem.message
    assert under in pointed(problem.span) or under in str(problem.span)


def test_mistakes_in_a_file_have_its_line(folder: Folder) -> None:
    problem = only(folder.write("a.yaml", SMALL + "  boxes:\n    aspect_ratios: [[2], [2], [2]]\n"))
    assert (problem.id, problem.span and problem.span.line) == ("anchor-levels", 12)
    assert problem.message == "`aspect_ratios` is of 3 levels, but the outputs are 2 levels: `a`, `b`"
    missing = only(folder.write("b.yaml", SMALL.replace("kind: ssd", "nms_thresh: 0.3")))
    assert (missing.id, missing.message) == ("missing-key", "`detector` needs `kind`")
    vector = SMALL.replace("outputs: {a: c1.0, b: c1.1}", "outputs: {a: c1.0, b: c2}")
    vector = vector.replace("outputs:", "  c2:\n    - {block: linear, out: 5}\noutputs:")
    flat = only(folder.write("c.yaml", vector))
    assert (flat.id, flat.message, pointed(flat.span)) == ("shape", "level `b` is no image but 5", "c2")


def test_eps_zero_is_for_frozen_norms_only() -> None:
    archc.load(MOBILE, ["norm.eps=0"])
    assert "must be greater than 0" in only(MOBILE, ["norm.eps=0", "norm.kind=batch"]).message
    assert "must be greater than 0" in only("mnv3_small", ["norm.eps=0"]).message


def test_two_levels_of_one_stride_are_warned_of(folder: Folder) -> None:
    """As torchvision's own MobileNetV3 pyramid has them (vision#5838)."""
    spec = archc.load("fasterrcnn_mnv3_large_fpn")
    with pytest.warns(archc.SpecWarning, match="same-stride.*levels `0` and `1` have one stride, 32"):
        graph = archc.lower(spec)
    (warning,) = graph.warnings
    assert (warning.id, warning.severity, pointed(warning.span)) == ("same-stride", "warning", "fpn.0.layer1")
    assert any("vision#5838" in note for note in warning.notes)
    own = folder.write("own.yaml", SMALL.replace("stride: 2", "stride: 1"))
    with pytest.warns(archc.SpecWarning, match="levels `a` and `b` have one stride, 4"):
        archc.report(own)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        archc.report(RCNN)
        archc.report("ssdlite_mobilevit_s")
        archc.lower(archc.load(folder.write("fine.yaml", SMALL)))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_settings_lower_no_row_anew(name: str) -> None:
    spec = archc.load(name)
    assert spec.detector is not None
    key = "detector.nms_thresh" if spec.detector.kind == "ssd" else "detector.box.nms_thresh"
    first, second = archc.lower(spec), archc.lower(spec.override({key: 0.25}))
    assert all(a.subgraph is b.subgraph for a, b in zip(first.regions, second.regions, strict=True))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "ssdlite320_mnv3_large",
            "stages.extra.1.out=1",
            "row `extra.1` (ssd_extra): `reduce` halves `out`, which is 1",
        ),
        ("fasterrcnn_mnv3_large_fpn", "num_classes=1000001", None),
        ("fasterrcnn_resnet50_fpn", "stages.fpn.0.out=1000x", None),
        ("ssdlite320_mnv3_large", "num_classes=10000000", None),
    ],
)
@pytest.mark.filterwarnings("ignore:.*same-stride:archc.SpecWarning")
def test_extreme_widths(name: str, change: str, message: str | None) -> None:
    """Priced, or refused where the override stands; these ended in a ZeroDivisionError and in pydantic's own errors."""
    if message is not None:
        problem = only(name, [change])
        assert problem.message.startswith(message)
        assert problem.span is not None
        assert problem.span.source.text == change
        return
    report = archc.report(archc.load(name, [change]))
    small = archc.report(archc.load(name))
    assert report.params > 100 * small.params
    if change == "num_classes=1000001":  # the predictor of 1,024 features: scores, and four numbers of a box, for each
        assert report.params - small.params == (1_000_001 - 91) * 5 * (1024 + 1)


def test_a_convolution_needs_channels() -> None:
    for conv in (ops.Conv(0), ops.Conv(8, groups=0)):
        with pytest.raises(ops.ShapeError, match="needs channels"):
            conv.infer(ops.Image(8, 4, 4))
