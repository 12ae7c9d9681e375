"""What compiles but is probably not meant, as far as the spec alone shows it; `archc.blocks.lint` looks at shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archc.document.diagnostics import Diagnostic, Span, SpecError
from archc.language import wiring
from archc.language.schema import Spec
from archc.language.wiring import INPUT, Position, Tap


def lint(spec: Spec) -> Iterator[Diagnostic]:
    """Warnings about a spec: settings that it states itself and that change nothing, and rows that nothing reads."""
    yield from (problem for problem in _unused_settings(spec) if not _inherited(spec, problem.span))
    yield from _unread_rows(spec)


def _inherited(spec: Spec, span: Span | None) -> bool:
    """Whether this was written in another file than the spec's own."""
    top = spec.span()
    return span is not None and top is not None and span.source.kind == "file" and span.source != top.source


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

    Two things are on purpose. Where a spec states its `outputs`, the rows after the last of them are cut off: that is
    how a classifier becomes a feature extractor. And a reference to a row in the middle of an inherited stage cuts off
    the rows below it in that stage.
    """
    if spec.outputs is None and all(row.from_ is None for _, _, row in spec.rows()):
        return  # every row reads the one before it; sweeps of plain networks should not pay for more
    wires = _wires(spec)
    returned = _returned(spec)
    if wires is None or returned is None:
        return  # a reference does not resolve, and lowering says so
    order = list(wires)
    read = {(tap.stage, tap.row) for taps in (*wires.values(), returned) for tap in taps}
    unread = [here for here in order if here not in read]
    if not unread:
        return
    stated = spec.outputs is not None or (spec.detector is not None and spec.detector.levels is not None)
    last = max((order.index((tap.stage, tap.row)) for tap in returned if tap != INPUT), default=-1)
    next_row = dict(zip(order, order[1:], strict=False))
    named = [
        (tap.stage, tap.row)
        for here, taps in [*wires.items(), (None, returned)]
        for tap in taps
        if next_row.get((tap.stage, tap.row)) != here
    ]
    for stage, index in unread:
        row = spec.stages[stage][index]
        span = spec.span("stages", *row.at)
        above = any(other == stage and number < index for other, number in named)
        if (stated and order.index((stage, index)) > last) or (above and _inherited(spec, span)):
            continue
        yield Diagnostic(
            "unused-row",
            f"nothing reads the output of `{stage}.{index}` (`{row.block}`), so the network is built without it",
            span,
            help="look at the `from` of the rows below, add the row to `outputs`, or remove it",
            severity="warning",
        )


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
