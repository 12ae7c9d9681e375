"""`dilated` and `output_stride`: turn late strides into dilation."""

from __future__ import annotations

from typing import Any

from archc.document.diagnostics import fail
from archc.document.values import FrozenDict
from archc.language import wiring
from archc.language.row import Row
from archc.language.schema import Spec


def atrous(spec: Spec) -> Spec:
    """Keep the total stride at `output_stride`: a stride beyond it becomes 1 and the rows after it dilate instead.

    `dilation_policy` says whether the row that lost its stride dilates too, and whether transformer blocks do
    (Chen et al. 2017, arXiv:1706.05587, section 3.1; the libraries differ, see the policy's own description).

    Raises:
        SpecError: a stride that must go belongs to a row that cannot dilate.
    """
    limit = 16 if spec.dilated else spec.output_stride
    if limit is None:
        return spec
    wires = wiring.inputs(spec)
    strides: dict[wiring.Position, int] = {(wiring.INPUT.stage, wiring.INPUT.row): 1}
    dilations: dict[wiring.Position, int] = dict(strides)
    stages: dict[str, tuple[Row, ...]] = {}
    for stage, rows in spec.stages.items():
        rewritten: list[Row] = []
        for index, row in enumerate(rows):
            here = (stage, index)
            _, source = max((strides[tap.stage, tap.row], (tap.stage, tap.row)) for tap in wires[here])
            stride = getattr(row, "stride", None) or 1
            removed = stride > 1 and strides[source] * stride > limit
            strides[here] = strides[source] * (1 if removed else stride)
            dilations[here] = dilations[source] * (stride if removed else 1)
            rewritten.append(_dilate(spec, row, dilations[source], dilations[here], removed))
        stages[stage] = tuple(rewritten)
    return spec.replace(stages=FrozenDict(stages), dilated=False, output_stride=None)


def _dilate(spec: Spec, row: Row, before: int, after: int, removed: bool) -> Row:
    fields = type(row).model_fields
    changes: dict[str, Any] = {}
    if removed:
        if "dilation" not in fields:
            raise fail(
                "cannot-dilate",
                f"the stride of this `{row.block}` exceeds the output stride, and it cannot dilate instead",
                spec.span("stages", *row.at, "stride"),
                help="raise `output_stride`",
            )
        changes["stride"] = 1
    policy = spec.dilation_policy
    if policy == "include_strided" and removed and "residual" in fields:
        # torchvision decides on the residual by the configured stride, even where dilation replaced it.
        changes["residual"] = False
    factor = after if policy == "include_strided" else before
    spread = "dilation" in fields and getattr(row, "kernel", None) != (1, 1)
    if factor > 1 and spread and not (policy == "none_in_vit" and row.attends):
        changes["dilation"] = getattr(row, "dilation", 1) * factor
    return row.replace(**changes) if changes else row
