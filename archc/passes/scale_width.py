"""`width_mult`: scale every channel count."""

from __future__ import annotations

from archc.document.diagnostics import fail
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.values import MAX_CHANNELS
from archc.passes.rows import map_rows


def scale_width(spec: Spec) -> Spec:
    """Multiply every count by `width_mult` and round it; ratios follow by themselves, `scale: fixed` rows stay.

    Raises:
        SpecError: more channels than any network has.
    """
    mult = spec.width_mult
    if mult == 1.0:
        return spec
    rounding = spec.rounding

    def scaled(stage: str, index: int, row: Row) -> Row:
        if row.scale == "fixed":
            return row
        changes: dict[str, int] = {}
        for name, _ in row.channel_fields():
            count = getattr(row, name)
            if isinstance(count, int):
                width = rounding.round(count * mult)
                if width > MAX_CHANNELS:
                    raise fail(
                        "too-large",
                        f"`{name}` times `width_mult` is {width:,}, more than {MAX_CHANNELS:,} channels",
                        spec.span("stages", *row.at, name),
                    )
                changes[name] = max(count, width) if row.scale == "grow" else width
        return row.replace(**changes) if changes else row

    return spec.replace(stages=map_rows(spec, scaled), width_mult=1.0)
