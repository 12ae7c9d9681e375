"""Load specs and graphs for the commands; warnings go to stderr, as diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.cli.arguments import allowed
from archc.cli.output import show_diagnostics

if TYPE_CHECKING:
    from archc.blocks.variants import Outcome
    from archc.document.diagnostics import Diagnostic
    from archc.ir.graph import Graph
    from archc.language.schema import Spec
    from archc.reporting.sweep import Variant
    from archc.weights.carrying.report import LoadReport


def load(source: str, overrides: Sequence[str], *, built: bool = False) -> Spec:
    """Load a spec and show its warnings; see `show_warnings`.

    Raises:
        SpecError: as `archc.load`.
    """
    import archc
    from archc.document.diagnostics import no_python_warnings

    with no_python_warnings():
        spec = archc.load(source, overrides, allow=allowed())
    show_warnings(spec, built=built)
    return spec


def sources(source: str) -> set[Path]:
    """The files that a spec is read from: its own, and every one it inherits a value from.

    Raises:
        SpecError: a file cannot be read.
    """
    from archc.blocks import REGISTRY
    from archc.document.tree import spans
    from archc.language.load import LIBRARY, document

    inherited = {span.source.name for span in spans(document(source, REGISTRY).tree) if span.source.kind == "file"}
    return {LIBRARY.find(source), *map(Path, inherited)}


def load_weights(
    model: Any, checkpoint: str | PathLike[str], source: str = "auto", partial: Sequence[str] = ()
) -> LoadReport:
    """Load a checkpoint. Its warnings are in the report only, not issued as Python warnings.

    Raises:
        WeightsError: as `archc.load_weights`.
    """
    import archc
    from archc.document.diagnostics import no_python_warnings

    with no_python_warnings():
        return archc.load_weights(model, checkpoint, source, partial)


def show_warnings(spec: Spec, *, built: bool = False) -> None:
    """Show a spec's warnings; if the network was `built` before, only those about the overrides."""
    found = [w for w in spec.warnings if not built or (w.span is not None and w.span.source.kind == "override")]
    show_diagnostics(found)


def lowered(spec: Spec, transforms: Sequence[str] = ()) -> Graph:
    """Lower a spec and show the warnings that depend on its shapes; then rewrite the graph by these transforms.

    Raises:
        SpecError: as `archc.lower`, or an unknown transform.
    """
    from archc.blocks.lower import lower

    graph = lower(spec)
    show_diagnostics(graph.warnings)
    if not transforms:
        return graph
    from archc.transforms import apply

    return apply(graph, None, transforms)[0]


def outcomes(source: str, overrides: Sequence[str]) -> Iterator[Outcome]:
    """Every combination of swept overrides, loaded and lowered, with the blocks that the command line allows.

    Raises:
        SpecError: the file or an override cannot be read, so there are no combinations.
    """
    from archc.blocks import REGISTRY
    from archc.blocks.variants import outcomes as found

    return found(source, overrides, REGISTRY.allowing(allowed()))


def variants(source: str, overrides: Sequence[str], latency: Path | None = None) -> list[Variant]:
    """Report every combination of swept overrides, with a latency table; show each warning and problem once.

    Raises:
        SpecError: `latency-table`, or a file or override that cannot be read.
    """
    from archc.document.diagnostics import SpecError
    from archc.document.overrides import parse
    from archc.document.tree import dotted
    from archc.reporting.model import Report
    from archc.reporting.sweep import Variant

    table = None
    if latency is not None:
        from archc.analysis.latency import LatencyTable

        table = LatencyTable.read(latency)
    swept = [number for number, override in enumerate(parse(overrides)) if override.swept]
    found: list[Variant] = []
    shown: list[Diagnostic] = []
    for outcome in outcomes(source, overrides):
        values = {dotted(o.path): None if o.action == "delete" else o.values[0] for o in outcome.chosen}
        keys = {dotted(o.path): o.text.partition("=")[2] for o in (outcome.chosen[number] for number in swept)}
        report, problems = Report(outcome.graph) if outcome.graph else None, outcome.problems
        if report and table:
            try:
                report = replace(report, latency=table.price(report.graph))
            except SpecError as error:
                report, problems = None, error.diagnostics
        found.append(Variant(values, keys, report, problems))
        shown += [*outcome.warnings, *problems]
    show_diagnostics(shown)
    return found


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether an override has several values."""
    if not any(mark in text for text in overrides for mark in ",("):
        return False
    from archc.document.overrides import parse

    return any(override.swept for override in parse(overrides))
