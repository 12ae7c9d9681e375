"""The heads of object detectors, from the settings under `detector:` to rows.

A head runs on what the detector picks: the region proposal network's on every level, the box head on every proposal.
Each is a small network of ordinary rows with one input, so cost, backends and names of weights follow as for any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from archc.blocks.conv import Conv
from archc.blocks.simple import Linear
from archc.ir import ops
from archc.language.detector import Box, FasterRcnn, Rpn, Ssd, SsdHead, of_level
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.settings import DropPath, Init, Norm
from archc.language.values import FrozenDict, Ratio, References

BACKBONE = "backbone"
"""Where torchvision's detectors keep the network that their levels come from."""
PROPOSALS = "proposals"

_Stages = dict[str, tuple[Row, ...]]


class Head(NamedTuple):
    """A head before it is lowered; `name`, `on`, `times` and `again` are `archc.ir.graph.Call`'s."""

    name: str
    spec: Spec
    input: ops.Shape
    on: str
    times: int = 1
    again: bool = False


def heads(spec: Spec, levels: Mapping[str, ops.Image]) -> Iterator[Head]:
    """The heads of a spec with a detector, after all passes, for levels of these shapes, in the order they run in."""
    detector = spec.detector
    if isinstance(detector, FasterRcnn):
        yield from _faster_rcnn(spec, detector, levels)
    elif isinstance(detector, Ssd):
        yield from _ssd(spec, detector, levels)


def _faster_rcnn(spec: Spec, detector: FasterRcnn, levels: Mapping[str, ops.Image]) -> Iterator[Head]:
    proposals = 0
    for number, (name, shape) in enumerate(levels.items()):
        anchors = detector.anchors.count(number)
        stages = _rpn(detector.rpn, anchors, shape.channels)
        head = _spec(spec, "rpn_head", stages, ("objectness", "deltas"))
        yield Head("rpn.head.level", head, shape, name, again=number > 0)
        proposals += min(detector.rpn.pre_nms_top_n_test, anchors * shape.height * shape.width)
    proposals = min(detector.rpn.post_nms_top_n_test, proposals)
    box, width = detector.box, next(iter(levels.values())).channels
    hidden, predictor = _box(box), _predictor(box, spec.num_classes)
    pooled = ops.Image(width, *box.roi_size)
    yield Head("roi_heads.box_head", _spec(spec, "box_head", hidden, None), pooled, PROPOSALS, proposals)
    head = _spec(spec, "box_predictor", predictor, ("scores", "deltas"))
    yield Head("roi_heads.box_predictor.proposal", head, ops.Vector(box.hidden[-1]), PROPOSALS, proposals)


def _rpn(rpn: Rpn, anchors: int, width: int) -> _Stages:
    convolutions = tuple(_conv(width, rpn.init, kernel=(3, 3), act="relu") for _ in range(rpn.depth))
    return {
        "conv": convolutions,
        "objectness": (_conv(anchors, rpn.init),),
        "deltas": (_conv(4 * anchors, rpn.init, after="conv"),),
    }


def _box(box: Box) -> _Stages:
    # The paper's VGG had its fully connected layers 6 and 7 here, and the names have stayed.
    rows = [_linear(width, box.init, act="relu") for width in box.hidden]
    return {f"fc{number}": (row,) for number, row in enumerate(rows, start=6)}


def _predictor(box: Box, classes: int) -> _Stages:
    return {
        "scores": (_linear(classes, box.init),),
        "deltas": (_linear(4 * classes, box.init, after="input"),),
    }


def _ssd(spec: Spec, detector: Ssd, levels: Mapping[str, ops.Image]) -> Iterator[Head]:
    head, columns = detector.head, {"classification": spec.num_classes, "regression": 4}
    if head.joint:
        columns = {"joint": sum(columns.values())}
    for kind, width in columns.items():
        for number, (name, shape) in enumerate(levels.items()):
            stages = _predictions(head, number, shape.channels, detector.boxes.count(number) * width)
            place = f"head.{kind}_head.module_list.{number}"
            yield Head(place, _spec(spec, f"{kind}_head", stages, None), shape, name)


def _predictions(head: SsdHead, level: int, width: int, out: int) -> _Stages:
    kernel = of_level(head.kernel, level)
    project = of_level(head.project, level) if head.project else width
    stages: _Stages = {}
    if project != width and kernel > 1:
        stages["project"] = (_conv(project, head.init, act=head.project_act, norm=head.norm),)
    if head.separable and kernel > 1:
        stages["depthwise"] = (
            _conv(
                Ratio(1.0), head.init, kernel=(kernel, kernel), groups="depthwise", act=head.act, norm=head.norm
            ),
        )  # fmt: skip
        kernel = 1
    stages["predict"] = (_conv(out, head.init, kernel=(kernel, kernel)),)
    return stages


_NO_NORM = Norm(kind="none")


def _conv(
    out: int | Ratio, init: Init, *, act: str = "none", norm: Norm | None = _NO_NORM, after: str = "", **columns: Any
) -> Row:
    source = {"from": after} if after else {}
    row = {"block": "conv", "out": out, "kernel": (1, 1), "act": act, "norm": norm, "init": _whole(init)}
    return Conv.model_validate({**row, "padding": "symmetric", **source, **columns})


def _linear(out: int, init: Init, *, act: str = "none", after: str = "") -> Row:
    source = {"from": after} if after else {}
    return Linear.model_validate({"block": "linear", "out": out, "act": act, "init": _whole(init), **source})


def _whole(init: Init) -> Init:
    """The policy with every key stated, so that nothing of the spec's own shows through."""
    return Init.model_validate({name: getattr(init, name) for name in Init.model_fields})


def _spec(spec: Spec, name: str, stages: _Stages, outputs: References | None) -> Spec:
    return spec.replace(
        name=name, stages=FrozenDict(stages), outputs=outputs, detector=None, tail=(), drop_path=DropPath()
    )
