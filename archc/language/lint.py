"""What compiles but is probably not meant: settings that nothing in the spec uses."""

from __future__ import annotations

from collections.abc import Iterator

from archc.document.diagnostics import Diagnostic
from archc.language.schema import Spec


def lint(spec: Spec) -> Iterator[Diagnostic]:
    """Warnings about a spec: every setting that it gives itself, not by inheritance, and that changes nothing."""
    for problem in _unused(spec):
        top = spec.span()
        inherited = problem.span and top and problem.span.source.kind == "file" and problem.span.source != top.source
        if not inherited:
            yield problem


def _unused(spec: Spec) -> Iterator[Diagnostic]:
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
    if limit is not None:
        total = 1
        for row in rows:
            total *= getattr(row, "stride", None) or 1
        if total <= limit:
            yield unused(key, f"the strides multiply to {total}, which is within {limit}")
