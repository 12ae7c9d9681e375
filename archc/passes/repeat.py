"""`repeat: n` becomes n rows; `depth_mult` scales n."""

from __future__ import annotations

import math
from collections.abc import Callable

from archc.document.diagnostics import fail
from archc.document.values import FrozenDict
from archc.language import wiring
from archc.language.detector import Detector
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.values import References, map_references

MAX_ROWS = 5_000


def repeat(spec: Spec) -> Spec:
    """Expand every `repeat`: the first row keeps the stride and the wiring, the others follow with stride 1.

    The count is ceil(repeat · depth_mult), in floating point, as torchvision's `adjust_depth` and timm's
    `depth_trunc='ceil'` compute it. A reference to a repeated row means the last of its rows.

    Raises:
        SpecError: more rows than any network has.
    """
    if all(row.repeat is None for _, _, row in spec.rows()):
        return spec if spec.depth_mult == 1.0 else spec.replace(depth_mult=1.0)
    stages: dict[str, tuple[Row, ...]] = {}
    last: dict[wiring.Position, int] = {}
    total = 0
    for stage, rows in spec.stages.items():
        expanded: list[Row] = []
        for index, row in enumerate(rows):
            count = _count(row, spec.depth_mult)
            total += count
            if total > MAX_ROWS:
                path = ("stages", *row.at, "repeat")
                raise fail("too-large", f"the spec stands for more than {MAX_ROWS:,} rows", spec.span(*path))
            expanded.extend(_expand(row, count))
            last[stage, index] = len(expanded) - 1
        stages[stage] = tuple(expanded)

    def moved(reference: str, path: tuple[str | int, ...]) -> str:
        if path[0] == "tail" and not spec.reduced_tail:
            return reference  # a tail that is not used need not exist: a child may have removed the stage
        tap = wiring.tap(spec, reference, path)
        return reference if "." not in reference else str(tap._replace(row=last[tap.stage, tap.row]))

    def rewired(row: Row) -> Row:
        changes: dict[str, References] = {}
        for name in ("from_", *row.reference_fields()):
            if (references := getattr(row, name)) is not None:
                path = ("stages", *row.at, name.rstrip("_"))
                changes[name] = map_references(references, lambda r, path=path: moved(r, path))  # type: ignore[misc]
        return row.replace(**changes) if changes else row

    wiring.inputs(spec)  # reports every bad reference at once, before any of them is moved
    return spec.replace(
        stages=FrozenDict({stage: tuple(map(rewired, rows)) for stage, rows in stages.items()}),
        outputs=spec.outputs and map_references(spec.outputs, lambda r: moved(r, ("outputs",))),
        tail=tuple(moved(reference, ("tail", i)) for i, reference in enumerate(spec.tail)),
        detector=_moved_levels(spec, moved),
        depth_mult=1.0,
    )


def _moved_levels(spec: Spec, moved: Callable[[str, tuple[str | int, ...]], str]) -> Detector | None:
    detector = spec.detector
    if detector is None or detector.levels is None:
        return detector
    return detector.replace(levels=map_references(detector.levels, lambda r: moved(r, wiring.levels_path(spec))))


def _count(row: Row, depth_mult: float) -> int:
    if row.repeat is None:
        return 1
    return math.ceil(row.repeat * (1.0 if row.repeat_scale == "fixed" else depth_mult))


def _expand(row: Row, count: int) -> list[Row]:
    if row.repeat is None:
        return [row]
    first = row.replace(repeat=None, repeat_scale="scaled")
    follower = first.replace(from_=None)
    if "stride" in type(row).model_fields:
        follower = follower.replace(stride=1)
    return [first, *[follower] * (count - 1)]
