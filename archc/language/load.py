"""From a path, a bundled name or a mapping, and overrides, to a checked `Spec`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from archc.document import overrides
from archc.document.diagnostics import Source
from archc.document.document import Document, DocumentSource
from archc.document.kind import Kind
from archc.document.library import Library, bundled_directory
from archc.document.overrides import Override
from archc.document.tree import Path
from archc.language.lint import lint
from archc.language.registry import BlockRegistry
from archc.language.schema import Spec
from archc.language.stages import StageReader
from archc.language.table import normalise, settled

LIBRARY = Library("spec", bundled_directory())
"""The bundled specs."""


def kind(blocks: BlockRegistry) -> Kind[Spec]:
    """What a spec is, as a kind of document whose rows may name these blocks."""
    return Kind(
        model=Spec,
        noun=LIBRARY.noun,
        directory=LIBRARY.directory,
        open=frozenset({("stages",), ("vars",), ("outputs",)}),
        makes=_makes,
        first=frozenset({"table"}),
        settle=settled,
        normalise=partial(normalise, blocks=blocks),
        readers={"stages": StageReader(blocks)},
        lint=lint,
    )


def _makes(path: Path, added: bool) -> bool:
    """Whether an override may make this mapping: a group of a row's settings, or one of the author's own."""
    return (path[0] == "stages" and len(path) > 3) or (path[0] == "vars" and added)


def document(source: DocumentSource, blocks: BlockRegistry) -> Document[Spec]:
    """Read a spec's file with what it inherits, to be varied by overrides.

    Raises:
        SpecError: it cannot be read.
    """
    return Document.open(kind(blocks), source)


def load(source: DocumentSource, changes: Sequence[str] = (), *, blocks: BlockRegistry) -> Spec:
    """Load one spec.

    Raises:
        SpecError: with every problem found.
    """
    return document(source, blocks).read(overrides.parse(changes), stacklevel=4)


def sweep(
    source: DocumentSource, changes: Sequence[str], *, blocks: BlockRegistry
) -> Iterator[tuple[list[Override], Spec]]:
    """Load every spec that swept overrides stand for, each with the overrides that made it; the file is read once.

    Raises:
        SpecError: with every problem found, when the first spec that has one is reached.
    """
    yield from document(source, blocks).sweep(overrides.parse(changes), stacklevel=3)


def stated(text: Source, name: str, changes: Sequence[str] = (), *, blocks: BlockRegistry) -> Spec:
    """The spec that a file of weights or a graph states as a text.

    Such a text may come from a stranger, so its interpolations call nothing: no environment variable is read, and no
    function that Python code registered with OmegaConf is run. It inherits nothing.

    Raises:
        SpecError: with every problem found.
    """
    return Document.of_text(kind(blocks), text, name, resolvers=False).read(overrides.parse(changes), stacklevel=4)
