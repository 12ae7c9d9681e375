"""Which row reads which: the only code that resolves references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from archc.document.diagnostics import SpecError, did_you_mean, fail
from archc.document.tree import Path
from archc.language.schema import Spec
from archc.language.values import names_in


class Tap(NamedTuple):
    """A place that a value can be taken from: a row, or a named part of it. `row` is -1 for the network's input."""

    stage: str
    row: int
    part: str = ""

    def __str__(self) -> str:
        if self == INPUT:
            return "input"
        return ".".join(str(p) for p in (self.stage, self.row, self.part) if p != "")


INPUT = Tap("input", -1)

Position = tuple[str, int]


def tap(spec: Spec, reference: str, path: Path, before: Position | None = None) -> Tap:
    """What a reference names. `path` is where it is written; `before`, the row that uses it.

    Raises:
        SpecError: no such stage or row, or one that comes only after the row that uses it.
    """
    stage, _, rest = reference.partition(".")
    if reference == "input":
        return INPUT
    if stage not in spec.stages:
        hint = did_you_mean(stage, ["input", *spec.stages])
        names = ", ".join(f"`{name}`" for name in spec.stages)
        help = "" if hint else f"the stages are {names}; `input` is the network's input"
        raise fail("unknown-reference", f"there is no stage `{stage}`", spec.span(*path), label=hint, help=help)
    rows = spec.stages[stage]
    if not rest:
        found = Tap(stage, len(rows) - 1)
    else:
        number, _, part = rest.partition(".")
        if not number.isdecimal() or int(number) >= len(rows):
            raise fail(
                "unknown-reference",
                f"stage `{stage}` has no row `{number}`",
                spec.span(*path),
                label=f"its rows are {stage}.0 to {stage}.{len(rows) - 1}" if len(rows) > 1 else "its only row is 0",
            )
        found = Tap(stage, int(number), part)
    if before is not None and not _precedes(spec, found, before):
        here = f"{before[0]}.{before[1]}"
        raise fail(
            "forward-reference",
            f"`{here}` takes its input from `{reference}`, which is computed only later",
            spec.span(*path),
            help="a row can use only rows above it",
        )
    return found


def _precedes(spec: Spec, found: Tap, row: Position) -> bool:
    if found.stage == row[0]:
        return found.row < row[1]
    order = list(spec.stages)
    return order.index(found.stage) < order.index(row[0])


def inputs(spec: Spec) -> dict[Position, tuple[Tap, ...]]:
    """The places that every row takes its inputs from, in order.

    Raises:
        SpecError: listing every reference that cannot be resolved.
    """
    wires: dict[Position, tuple[Tap, ...]] = {}
    problems: list[SpecError] = []
    previous = INPUT
    for stage, index, row in spec.rows():
        here = (stage, index)
        taps = [previous]
        if row.from_ is not None:
            taps = _collect(spec, row.from_, ("stages", *row.at, "from"), problems, here)
        for name in row.reference_fields():
            taps += _collect(spec, getattr(row, name), ("stages", *row.at, name), problems, here)
        wires[here] = tuple(taps)
        previous = Tap(stage, index)
    if problems:
        raise SpecError(d for problem in problems for d in problem.diagnostics)
    return wires


def outputs(spec: Spec) -> dict[str, Tap]:
    """The network's outputs by name.

    Raises:
        SpecError: listing every reference that cannot be resolved.
    """
    wanted = spec.outputs if spec.outputs is not None else next(reversed(spec.stages))
    problems: list[SpecError] = []
    references = [reference for _, reference in names_in(wanted)]
    taps = _collect(spec, wanted, ("outputs",), problems)
    if problems:
        raise SpecError(d for problem in problems for d in problem.diagnostics)
    names = list(wanted) if isinstance(wanted, dict) else references
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise fail("duplicate-output", f"`outputs` names `{twice}` twice", spec.span("outputs"))
    return dict(zip(names, taps, strict=True))


def levels(spec: Spec) -> dict[str, Tap]:
    """A detector's levels by name; empty for a spec without a detector, or whose heads are no rows yet."""
    wanted = spec.detector.levels if spec.detector is not None else None
    if wanted is None:
        return {}
    taps = [tap(spec, reference, (*levels_path(spec), *below)) for below, reference in names_in(wanted)]
    return dict(zip(spec.level_names, taps, strict=True))


def levels_path(spec: Spec) -> Path:
    """Where the levels are written: under `detector.levels`, or as the outputs that the `heads` pass moved."""
    stated = spec.span("detector", "levels") != spec.span("detector")
    return ("detector", "levels") if stated else ("outputs",)


def strides(spec: Spec, wires: Mapping[Position, tuple[Tap, ...]]) -> dict[Position, int]:
    """The total stride of every row's output; of several inputs, the one of the largest stride counts.

    Rows that resize to the size of another are taken to keep their stride.
    """
    total: dict[Position, int] = {(INPUT.stage, INPUT.row): 1}
    for stage, index, row in spec.rows():
        before = max(total[tap.stage, tap.row] for tap in wires[stage, index])
        total[stage, index] = before * (row.__dict__.get("stride") or 1)
    return total


def weights_owners(spec: Spec) -> dict[Position, Position]:
    """The rows that use the weights of another row of their stage, by their `shares` column, with that row."""
    rows = ((stage, index, row.__dict__.get("shares")) for stage, index, row in spec.rows())
    return {(stage, index): (stage, owner) for stage, index, owner in rows if owner is not None}


def uses(spec: Spec, wanted: Tap) -> Iterator[Path]:
    """Where every reference to this place is written."""
    written: list[tuple[Path, object]] = [(("outputs",), spec.outputs)]
    if spec.detector is not None:
        written = [(levels_path(spec), spec.detector.levels)]
    for _, _, row in spec.rows():
        written += [
            (("stages", *row.at, name.rstrip("_")), getattr(row, name)) for name in ("from_", *row.reference_fields())
        ]
    for path, references in written:
        for below, reference in names_in(references):
            if tap(spec, reference, path) == wanted:
                yield (*path, *below)


def _collect(
    spec: Spec, references: object, path: Path, problems: list[SpecError], before: Position | None = None
) -> list[Tap]:
    found: list[Tap] = []
    for below, reference in names_in(references):
        try:
            found.append(tap(spec, reference, (*path, *below), before))
        except SpecError as error:
            problems.append(error)
    return found
