"""`reduced_tail`: halve the channels of the stages named in `tail`."""

from __future__ import annotations

from archc.document.diagnostics import fail
from archc.language import wiring
from archc.language.row import Row
from archc.language.schema import Spec
from archc.passes.rows import map_rows


def reduce_tail(spec: Spec) -> Spec:
    """Halve every count of the tail's rows, before width scaling (torchvision's `reduced_tail`, mobilenetv3.py).

    An expansion belongs to its row's input, so it is halved only where that input comes out of the tail: the
    first row of MobileNetV3's tail keeps its 672. Ratios and rows with `scale: fixed` stay.

    Raises:
        SpecError: `reduced_tail` without `tail`, or a tail that names no stage or row.
    """
    if not spec.reduced_tail:
        return spec
    if not spec.tail:
        raise fail(
            "no-tail",
            "`reduced_tail` halves what `tail` names, and `tail` names nothing",
            spec.span("reduced_tail"),
            help="name the stages to halve: `tail: [c5, head]`",
        )
    wires = wiring.inputs(spec)
    tail: set[wiring.Position] = set()
    for i, reference in enumerate(spec.tail):
        tap = wiring.tap(spec, reference, ("tail", i))
        rows = range(len(spec.stages[tap.stage])) if "." not in reference else [tap.row]
        tail.update((tap.stage, index) for index in rows)

    def halved(stage: str, index: int, row: Row) -> Row:
        if (stage, index) not in tail or row.scale == "fixed":
            return row
        source = wires[stage, index][0]
        input_in_tail = (source.stage, source.row) in tail
        changes = {
            name: max(1, count // 2)
            for name, role in row.channel_fields()
            if isinstance(count := getattr(row, name), int) and (input_in_tail or not role.follows_input)
        }
        return row.replace(**changes) if changes else row

    return spec.replace(stages=map_rows(spec, halved), reduced_tail=False)
