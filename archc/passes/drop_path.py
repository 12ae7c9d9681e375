"""Spec-wide `drop_path`: give every residual row its rate."""

from __future__ import annotations

from archc.language.row import Row
from archc.language.schema import Spec
from archc.passes.rows import map_rows


def has_drop_path(row: Row) -> bool:
    """Whether the row's block has a residual path to drop."""
    return "drop_path" in type(row).model_fields


def drop_path(spec: Spec) -> Spec:
    """Give every residual row its rate; a rate that the row states itself stays.

    `linear` gives the i-th of n such rows rate·i/n, counting every row whose block can have a residual, as
    torchvision's EfficientNet (`stochastic_depth_prob`) and timm's EfficientNetBuilder do.
    """
    rate, schedule = spec.drop_path.rate, spec.drop_path.schedule
    if rate == 0.0:
        return spec
    places = [(stage, index) for stage, index, row in spec.rows() if has_drop_path(row)]
    rates = {
        place: rate if schedule == "constant" else rate * number / len(places) for number, place in enumerate(places)
    }

    def with_rate(stage: str, index: int, row: Row) -> Row:
        if (stage, index) not in rates or getattr(row, "drop_path", None) is not None:
            return row
        return row.replace(drop_path=rates[stage, index])

    return spec.replace(stages=map_rows(spec, with_rate), drop_path=type(spec.drop_path)())
