"""Every spec that swept overrides stand for, loaded and lowered; one that fails does not hide the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from archc.blocks.lower import lower
from archc.document.diagnostics import Diagnostic, SpecError, no_python_warnings
from archc.document.overrides import Override, parse, sweep
from archc.ir.graph import Graph
from archc.language.load import document
from archc.language.registry import BlockRegistry


class Outcome(NamedTuple):
    """The result of one combination of overrides: a graph or problems, and in either case any warnings."""

    chosen: Sequence[Override]
    graph: Graph | None
    problems: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


def outcomes(
    source: str | PathLike[str] | Mapping[str, Any], overrides: Sequence[str], blocks: BlockRegistry
) -> Iterator[Outcome]:
    """Load and lower the spec of every combination of swept overrides.

    Raises:
        SpecError: the file or an override cannot be read, so there are no combinations.
    """
    opened = document(source, blocks)
    for chosen in sweep(parse(overrides)):
        found: tuple[Diagnostic, ...] = ()
        try:
            with no_python_warnings():  # they are part of the outcome
                spec = opened.read(chosen)
            found = spec.warnings
            graph = lower(spec)
            yield Outcome(chosen, graph, (), (*found, *graph.warnings))
        except SpecError as error:
            yield Outcome(chosen, None, error.diagnostics, found)
