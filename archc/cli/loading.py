"""Specs and graphs for the commands: what is probably not meant goes to stderr, as diagnostics."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from archc.cli.output import show_diagnostics

if TYPE_CHECKING:
    from archc.document.diagnostics import Diagnostic
    from archc.document.overrides import Override
    from archc.ir.graph import Graph
    from archc.language.schema import Spec
    from archc.reporting.sweep import Variant
    from archc.weights.report import LoadReport


class Outcome(NamedTuple):
    """What one combination of overrides came to: a graph, or problems; warnings may come with either."""

    chosen: Sequence[Override]
    graph: Graph | None
    problems: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


def load(source: str, overrides: Sequence[str], *, built: bool = False) -> Spec:
    """Load a spec and show its warnings; see `show_warnings`.

    Raises:
        SpecError: as `archc.load`.
    """
    import archc

    with _no_python_warnings():
        spec = archc.load(source, overrides)
    show_warnings(spec, built=built)
    return spec


def load_weights(
    model: Any, checkpoint: str | PathLike[str], source: str = "auto", partial: Sequence[str] = ()
) -> LoadReport:
    """Load a checkpoint; what its library does otherwise is told by the report's `warnings` alone.

    Raises:
        WeightsError: as `archc.load_weights`.
    """
    import archc

    with _no_python_warnings():
        return archc.load_weights(model, checkpoint, source, partial)


def show_warnings(spec: Spec, *, built: bool = False) -> None:
    """Show what is probably not meant; of a network that was `built` before, only what the overrides give reason to."""
    found = [w for w in spec.warnings if not built or (w.span is not None and w.span.source.kind == "override")]
    show_diagnostics(found)


def lowered(spec: Spec) -> Graph:
    """Lower a spec and show the warnings that only its shapes give reason to.

    Raises:
        SpecError: as `archc.lower`.
    """
    from archc.blocks.lower import lower

    graph = lower(spec)
    show_diagnostics(graph.warnings)
    return graph


def outcomes(source: str, overrides: Sequence[str]) -> Iterator[Outcome]:
    """Load and lower every spec that swept overrides stand for; one that fails does not hide the others.

    Raises:
        SpecError: the file or an override cannot be read, so that there is nothing to vary.
    """
    from archc.blocks import REGISTRY
    from archc.blocks.lower import lower
    from archc.document.diagnostics import SpecError
    from archc.document.overrides import parse, sweep
    from archc.language.load import document

    opened = document(source, REGISTRY)
    for chosen in sweep(parse(overrides)):
        found: tuple[Diagnostic, ...] = ()
        try:
            with _no_python_warnings():
                spec = opened.read(chosen)
            found = spec.warnings
            graph = lower(spec)
            yield Outcome(chosen, graph, (), (*found, *graph.warnings))
        except SpecError as error:
            yield Outcome(chosen, None, error.diagnostics, found)


def variants(source: str, overrides: Sequence[str]) -> list[Variant]:
    """Every combination with its report; warnings and problems are shown, each once."""
    from archc.document.overrides import parse
    from archc.document.tree import dotted
    from archc.reporting.model import Report
    from archc.reporting.sweep import Variant

    swept = [number for number, override in enumerate(parse(overrides)) if override.swept]
    found: list[Variant] = []
    shown: list[Diagnostic] = []
    for outcome in outcomes(source, overrides):
        values = {dotted(o.path): None if o.action == "delete" else o.values[0] for o in outcome.chosen}
        keys = {dotted(o.path): o.text.partition("=")[2] for o in (outcome.chosen[number] for number in swept)}
        report = Report(outcome.graph) if outcome.graph else None
        found.append(Variant(values, keys, report, outcome.problems))
        shown += [*outcome.warnings, *outcome.problems]
    show_diagnostics(shown)
    return found


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether the overrides stand for several specs."""
    if not any(mark in text for text in overrides for mark in ",("):
        return False
    from archc.document.overrides import parse

    return any(override.swept for override in parse(overrides))


@contextmanager
def _no_python_warnings() -> Iterator[None]:
    from archc.document.diagnostics import SpecWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        yield
