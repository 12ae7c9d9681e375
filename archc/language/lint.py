"""What compiles but is probably not meant, as far as the spec alone shows it; `archc.blocks.lint` looks at shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archc.document.diagnostics import Diagnostic, SpecError
from archc.language import wiring
from archc.language.schema import Spec
from archc.language.wiring import Position, Tap


def lint(spec: Spec) -> Iterator[Diagnostic]:
    """Warnings about a spec: settings that it states itself and that change nothing, and rows that nothing reads."""
    for problem in _unused_settings(spec):
        top = spec.span()
        inherited = problem.span and top and problem.span.source.kind == "file" and problem.span.source != top.source
        if not inherited:
            yield problem
    yield from _unread_rows(spec)


def _unused_settings(spec: Spec) -> Iterator[Diagnostic]:
    rows = [row for _, _, row in spec.rows()]
    written = spec.model_fields_set

    def unused(key: str, reason: str, help: str = "") -> Diagnostic:
        return Diagnostic(
            "unused-setting", f"`{key}` has no effect: {reason}", spec.span(key), help=help, severity="warning"
        )

    if spec.depth_mult != 1.0 and all(row.repeat is None for row in rows):
        yield unused("depth_mult", "no row has a `repeat`")
    if spec.drop_path.rate and not any("drop_path" in type(row).model_fields for row in rows):
        yield unused("drop_path", "no row has a residual")
    if "dropout" in written and spec.dropout and not any("rate" in type(row).model_fields for row in rows):
        yield unused("dropout", "there is no `dropout` row", "add `{block: dropout}`, or set the rows' own `dropout`")
    limit = 16 if spec.dilated else spec.output_stride
    key = "dilated" if spec.dilated else "output_stride"
    if limit is not None and (wires := _wires(spec)) is not None:
        total = max(wiring.strides(spec, wires).values())
        if total <= limit:
            yield unused(key, f"the largest total stride of a row is {total}, which is within {limit}")


def _unread_rows(spec: Spec) -> Iterator[Diagnostic]:
    """A warning for every row whose output nothing reads, unless the author has cut it off on purpose.

    Stated `outputs` cut off the rows after the last of them: that is how a classifier becomes a feature extractor. The
    heads of a task cut off the rows of the backbone after the last that they read: they often read from the middle of
    a stage, whose other rows stay in the spec because checkpoints have them.
    """
    if spec.outputs is None and all(row.from_ is None for _, _, row in spec.rows()):
        return  # every row reads the one before it; sweeps of plain networks should not pay for more
    wires = _wires(spec)
    returned = _returned(spec)
    if wires is None or returned is None:
        return  # a reference does not resolve, and lowering says so
    order = {here: number for number, here in enumerate(wires)}
    heads = {(stage, index) for stage, index, row in spec.rows() if getattr(type(row), "is_head", False)}
    by_heads = [_row(tap) for here in heads for tap in wires[here]]
    last_backbone = max((order[row] for row in by_heads if row in order and row not in heads), default=len(order))
    stated = spec.outputs is not None or (spec.detector is not None and spec.detector.levels is not None)
    last_output = max((order.get(_row(tap), -1) for tap in returned), default=-1) if stated else len(order)
    read = {_row(tap) for taps in (*wires.values(), returned) for tap in taps} | {*wiring.weights_owners(spec).values()}
    for here, number in order.items():
        if here in read or number > last_output or (number > last_backbone and here not in heads):
            continue
        stage, index = here
        row = spec.stages[stage][index]
        yield Diagnostic(
            "unused-row",
            f"nothing reads the output of `{stage}.{index}` (`{row.block}`), so the network is built without it",
            spec.span("stages", *row.at),
            help="look at the `from` of the rows below, add the row to `outputs`, or remove it",
            severity="warning",
        )


def _row(tap: Tap) -> Position:
    return tap.stage, tap.row


def _wires(spec: Spec) -> Mapping[Position, tuple[Tap, ...]] | None:
    try:
        return wiring.inputs(spec)
    except SpecError:
        return None


def _returned(spec: Spec) -> tuple[Tap, ...] | None:
    try:
        return (*wiring.outputs(spec).values(), *wiring.levels(spec).values())
    except SpecError:
        return None
