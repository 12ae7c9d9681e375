"""The compatibility report: which rows of the spec a checkpoint does not fit, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from archc.analysis.diff import diff
from archc.document.diagnostics import Diagnostic, Span, SpecError
from archc.ir.graph import Graph
from archc.language.schema import Spec
from archc.transforms.provenance import spec_of, stated_spec
from archc.weights.checkpoint import Checkpoint
from archc.weights.error import WeightsError
from archc.weights.explaining.repair import repair
from archc.weights.explaining.search import Candidate, Fit, Goal, search
from archc.weights.naming.layout import Shape
from archc.weights.naming.match import Match, Status
from archc.weights.naming.places import row_names
from archc.weights.naming.schemes import ARCHC, Scheme

NOTHING_FITS = "no bundled spec fits it either, at any usual width, depth or number of classes"
SHOWN = 10
"""Rows that are shown one by one."""


def mismatch(
    graph: Graph, scheme: Scheme | None, checkpoint: Checkpoint, found: Match, partial: Sequence[str]
) -> WeightsError:
    """The error for a match that is not complete, to be raised by the caller."""
    spec, goal = spec_of(graph), Goal(scheme, checkpoint, partial)
    own = Candidate(spec, graph, found) if spec is not None else None
    fit = (search(own, goal) or repair(own, goal)) if own is not None else None
    rows = _rows(graph, found)
    described = [f"{row}: {text}" for row, text in _described(rows, found, goal.shapes)]
    notes = [f"its names are {scheme.library if scheme else ARCHC}'s", *_cut(described, "rows")]
    if surplus := found.names(Status.SURPLUS):
        notes.append(f"in the checkpoint, with no place here: {_grouped(surplus)}")
    message = f"{checkpoint.shown} does not fit `{graph.name}`: {_summary(graph, rows, surplus)}"
    help = _help(fit, found) if fit is not None else _saved_from(spec, checkpoint) or NOTHING_FITS
    return WeightsError([Diagnostic("weights-mismatch", message, _span(graph, rows), notes=tuple(notes), help=help)])


def _rows(graph: Graph, found: Match) -> list[str]:
    """The rows that differ, in the network's order."""
    differing = {slot.row for slot in found.slots(Status.DIFFERING, Status.MISSING, Status.UNNAMED)}
    return [name for name in row_names(graph) if name in differing]


def _summary(graph: Graph, rows: Sequence[str], surplus: Sequence[str]) -> str:
    if not rows:
        number = len(surplus)
        return f"{number} tensor{'s' * (number != 1)} of it {'have' if number != 1 else 'has'} no place in the network"
    if len(rows) == 1:
        return f"row `{rows[0]}` differs"
    called = (region for call in graph.calls for region in call.graph.regions)
    weighted = sum(1 for region in (*graph.regions, *called) if region.total.params)
    return f"{len(rows)} of {weighted} rows differ"


def _described(rows: Sequence[str], found: Match, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    for row in rows:
        differing, missing, unnamed = (
            [slot for slot in found.slots(status) if slot.row == row]
            for status in (Status.DIFFERING, Status.MISSING, Status.UNNAMED)
        )
        said: list[str] = []
        if differing:
            slot = differing[0]
            name, here, there = next(
                (name, shape, shapes[name])
                for name, shape in zip(slot.names, slot.shapes, strict=True)
                if shapes[name] != shape
            )
            said.append(f"`{slot.local}` is {_shape(here)} here, {_shape(there)} in the checkpoint (`{name}`)")
        if missing:
            where = f"`{missing[0].names[0]}`" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            said.append(f"the checkpoint has no {where}")
        if unnamed:
            said.append(f"the library has no name for `{unnamed[0].local}`")
        yield row, "; ".join(said)


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
    """How the spec that the file states differs from the one at hand."""
    with suppress(SpecError):
        saved = stated_spec(checkpoint.metadata)
        if spec is not None and saved is not None:
            found = diff(spec, saved)
            changes = [f"{change.key}={change.after}" for change in found.settings if change.key != "name"]
            rows = [row.after or f"no {row.before}" for row in found.rows]
            differences = ", ".join(_cut([*changes, *(f"row {row}" for row in rows)], "differences"))
            return f"it was saved from `{saved.name}`, whose spec is in the file and differs: {differences}"
    return ""


def _help(fit: Fit, found: Match) -> str:
    where = f"`{fit}`" if fit.name else f"with `{fit}`"
    help = f"this checkpoint was {fit.why}: it fits {where}" if fit.why else f"this checkpoint fits {where}"
    stages = {slot.stage for slot in found.slots(Status.DIFFERING, Status.MISSING)}
    if len(stages) == 1 and not fit.name:
        help += f'; or load all but that stage: `--partial {min(stages)}`, in Python `partial="{min(stages)}"`'
    return help


def _span(graph: Graph, rows: Sequence[str]) -> Span | None:
    """Where the first row that differs is written."""
    spec = spec_of(graph)
    if spec is None or not rows:
        return None
    region = next((region for region in (*graph.whole, *graph.regions) if region.name == rows[0]), None)
    if region is None or region.source[0] not in spec.stages:
        return spec.span("detector")  # a head that the settings under `detector` stand for
    return spec.span("stages", *region.source)
