"""A detector's heads become stages of ordinary rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archc.document.diagnostics import fail
from archc.document.values import FrozenDict
from archc.language import wiring
from archc.language.detector import FasterRcnn, Ssd, of_level
from archc.language.registry import REGISTRY
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.settings import Init
from archc.language.values import names_in

_Stages = dict[str, tuple[Row, ...]]

RPN = "rpn"
"""The stage of the region proposal network: a row for each level, all with the weights of the first."""
SSD = ("classification", "regression")
"""The stages of an SSD's heads: a row for each level. A joint head has the one stage `JOINT`."""
JOINT = "joint"


def heads(spec: Spec) -> Spec:
    """Append a detector's heads on its levels: those of an SSD, or a Faster R-CNN's region proposal network.

    The spec's outputs become `detector.levels`, and the heads' predictions are outputs instead; a Faster R-CNN
    returns its levels, too, because its box head runs on proposals cut out of them. A spec that states
    `detector.levels` has its heads written out already and stays as it is.

    Raises:
        SpecError: a level that does not exist, or a stage that has a head's name.
    """
    detector = spec.detector
    if detector is None or detector.levels is not None:
        return spec
    wiring.outputs(spec)  # reports a level that does not exist where it is written
    outputs = spec.outputs if spec.outputs is not None else next(reversed(spec.stages))
    references = [reference for _, reference in names_in(outputs)]
    levels = dict(zip(spec.output_names, references, strict=True))
    stages, predictions = (
        _rpn(detector, levels) if isinstance(detector, FasterRcnn) else _ssd(detector, levels, spec.num_classes)
    )
    if taken := next((name for name in stages if name in spec.stages), ""):
        message = f"stage `{taken}` has the name of the detector's own head"
        raise fail("conflicting-settings", message, spec.span("stages", taken), help="rename the stage")
    returned = {**(levels if isinstance(detector, FasterRcnn) else {}), **predictions}
    return spec.replace(
        stages=FrozenDict({**spec.stages, **stages}),
        outputs=FrozenDict(returned),
        detector=detector.replace(levels=FrozenDict(levels)),
    )


def _rpn(detector: FasterRcnn, levels: Mapping[str, str]) -> tuple[_Stages, dict[str, str]]:
    rpn = detector.rpn
    rows = [
        _row(
            "rpn_head",
            level,
            reference,
            rpn.init,
            depth=rpn.depth,
            anchors=detector.anchors.count(number),
            **({"shares": 0} if number else {}),
        )
        for number, (level, reference) in enumerate(levels.items())
    ]
    predictions = {
        f"{kind}_{level}": f"{RPN}.{number}.{kind}"
        for kind in ("objectness", "deltas")
        for number, level in enumerate(levels)
    }
    return {RPN: tuple(rows)}, predictions


def _ssd(detector: Ssd, levels: Mapping[str, str], classes: int) -> tuple[_Stages, dict[str, str]]:
    columns = {JOINT: classes + 4} if detector.head.joint else dict(zip(SSD, (classes, 4), strict=True))
    stages = {kind: tuple(_ssd_rows(detector, levels, width)) for kind, width in columns.items()}
    predictions = {f"{kind}_{level}": f"{kind}.{number}" for kind in stages for number, level in enumerate(levels)}
    return stages, predictions


def _ssd_rows(detector: Ssd, levels: Mapping[str, str], columns: int) -> Iterator[Row]:
    head = detector.head
    for number, (level, reference) in enumerate(levels.items()):
        yield _row(
            "ssd_head",
            level,
            reference,
            head.init,
            out=detector.boxes.count(number) * columns,
            kernel=of_level(head.kernel, number),
            separable=head.separable,
            act=head.act,
            project_act=head.project_act,
            norm=head.norm,
            **({"project": of_level(head.project, number)} if head.project else {}),
        )


def _row(block: str, level: str, reference: str, init: Init, **columns: Any) -> Row:
    values = {"block": block, "from": reference, "level": level, "init": init.stated(), **columns}
    return REGISTRY.get(block).model_validate(values)
