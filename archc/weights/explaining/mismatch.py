"""The compatibility report: which rows of the spec a checkpoint does not fit, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from archc.analysis.diff import diff
from archc.document.diagnostics import Diagnostic, Span, SpecError
from archc.ir.graph import Graph
from archc.language.schema import Spec
from archc.weights.error import WeightsError
from archc.weights.explain import Fit, Goal, explain
from archc.weights.layout import Shape
from archc.weights.maps import ARCHC, Layout
from archc.weights.match import Match
from archc.weights.naming import Slot
from archc.weights.origin import spec_of, stated_in
from archc.weights.read import Checkpoint
from archc.weights.repair import repair
from archc.weights.skeleton import row_names

NOTHING_FITS = "no bundled spec fits it either, at any usual width, depth or number of classes"
SHOWN = 10
"""Rows that are told one by one."""


def mismatch(
    graph: Graph, layout: Layout | None, checkpoint: Checkpoint, found: Match, partial: Sequence[str]
) -> WeightsError:
    """The error for a match that is not complete, to be raised by the caller."""
    spec, goal = spec_of(graph), Goal(layout, checkpoint, partial)
    fit = (explain(spec, goal) or repair(spec, goal)) if spec is not None else None
    rows = _rows(graph, found)
    told = [f"{row}: {text}" for row, text in _told(rows, found, goal.shapes)]
    notes = [f"its names are {layout.library if layout else ARCHC}'s", *_cut(told, "rows")]
    if found.surplus:
        notes.append(f"in the checkpoint, with no place here: {_grouped(found.surplus)}")
    message = f"{checkpoint.shown} does not fit `{graph.name}`: {_summary(graph, rows, found)}"
    span = _span(graph, rows)
    help = _help(fit, found) if fit is not None else _saved_from(spec, checkpoint) or NOTHING_FITS
    return WeightsError([Diagnostic("weights-mismatch", message, span, notes=tuple(notes), help=help)])


def _rows(graph: Graph, found: Match) -> list[str]:
    """The rows that differ, in the network's order."""
    differing = {slot.row for slot in (*found.differing, *found.missing, *found.unnamed)}
    return [name for name in row_names(graph) if name in differing]


def _summary(graph: Graph, rows: Sequence[str], found: Match) -> str:
    if not rows:
        number = len(found.surplus)
        return f"{number} tensor{'s' * (number != 1)} of it {'have' if number != 1 else 'has'} no place in the network"
    called = (region for call in graph.calls if not call.again for region in call.graph.regions)
    weighted = sum(1 for region in (*graph.regions, *called) if region.subgraph.total.params)
    if len(rows) == 1:
        return f"row `{rows[0]}` differs"
    return f"{len(rows)} of {weighted} rows differ"


def _told(rows: Sequence[str], found: Match, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    for row in rows:
        differing = [slot for slot in found.differing if slot.row == row]
        missing = [slot for slot in found.missing if slot.row == row]
        unnamed = [slot for slot in found.unnamed if slot.row == row]
        said: list[str] = []
        if differing:
            slot = differing[0]
            name, here, there = next(
                (name, shape, shapes[name])
                for name, shape in zip(slot.names, slot.shapes, strict=True)
                if shapes[name] != shape
            )
            said.append(f"`{_local(slot)}` is {_shape(here)} here, {_shape(there)} in the checkpoint (`{name}`)")
        if missing:
            where = f"`{missing[0].names[0]}`" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            said.append(f"the checkpoint has no {where}")
        if unnamed:
            said.append(f"the library has no name for `{_local(unnamed[0])}`")
        yield row, "; ".join(said)


def _local(slot: Slot) -> str:
    return f"{slot.node.removeprefix(slot.row).removeprefix('.')}.{slot.weight.name}"


def _shape(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _grouped(names: Sequence[str]) -> str:
    """Names by the module they lie in."""
    groups: dict[str, int] = {}
    for name in names:
        module = ".".join(name.split(".")[:2]) if name.count(".") > 1 else name.partition(".")[0]
        groups[module] = groups.get(module, 0) + 1
    return ", ".join(_cut([f"`{module}` ({number})" for module, number in groups.items()], "modules"))


def _cut(items: list[str], what: str) -> list[str]:
    return items if len(items) <= SHOWN else [*items[:SHOWN], f"… and {len(items) - SHOWN} more {what}"]


def _saved_from(spec: Spec | None, checkpoint: Checkpoint) -> str:
    """What differs from the spec inside a file of archc's."""
    with suppress(SpecError):
        saved = stated_in(checkpoint.metadata)
        if spec is not None and saved is not None:
            found = diff(spec, saved)
            changes = [f"{change.key}={change.after}" for change in found.settings if change.key != "name"]
            rows = [row.after or f"no {row.before}" for row in found.rows]
            told = ", ".join(_cut([*changes, *(f"row {row}" for row in rows)], "differences"))
            return f"it was saved from `{saved.name}`, whose spec is in the file and differs: {told}"
    return ""


def _help(fit: Fit, found: Match) -> str:
    where = f"`{fit}`" if fit.name else f"with `{fit}`"
    told = f"this checkpoint was {fit.why}: it fits {where}" if fit.why else f"this checkpoint fits {where}"
    stages = {slot.row.partition(".")[0] for slot in (*found.differing, *found.missing)}
    if len(stages) == 1 and not fit.name:
        told += f'; or load all but that stage: `--partial {min(stages)}`, in Python `partial="{min(stages)}"`'
    return told


def _span(graph: Graph, rows: Sequence[str]) -> Span | None:
    """Where the first row that differs is written."""
    spec = spec_of(graph)
    if spec is None or not rows:
        return None
    stage, _, index = rows[0].partition(".")
    if not index.isdecimal():
        return spec.span("detector")
    written = len(spec.stages.get(stage, ()))
    return spec.span("stages", stage, min(int(index), written - 1)) if written else None
