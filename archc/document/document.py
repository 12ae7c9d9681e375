"""Reads a document of any kind: from a file, a text or a mapping, with overrides, to a checked model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, Generic

from pydantic import ValidationError

from archc.document import edits, interpolation, overrides
from archc.document.compose import compose
from archc.document.diagnostics import Diagnostic, Source, Span, SpecError, SpecWarning, visible
from archc.document.errors import from_validation
from archc.document.kind import Kind, Model, Reading
from archc.document.overrides import Override
from archc.document.tree import Map, Path, Scalar, find, from_mapping, locate, plain
from archc.document.yaml import read_text

DocumentSource = str | PathLike[str] | Mapping[str, Any]
"""A file's path, a bundled name, or a mapping of Python values."""


@dataclass(frozen=True)
class Document(Generic[Model]):
    """A document with what it inherits, before overrides and interpolation.

    Without `resolvers`, the interpolations in its text may refer to other values but call nothing: no environment
    variable is read, and no function that Python code registered with OmegaConf is run. That is for texts that may come
    from a stranger. Overrides are the user's own, so they may call what they like.
    """

    kind: Kind[Model]
    tree: Map
    name: str
    resolvers: bool = True

    @classmethod
    def open(cls, kind: Kind[Model], source: DocumentSource) -> Document[Model]:
        """Read a file, a bundled document, or a mapping of Python values.

        Raises:
            SpecError: it cannot be read, or it inherits what cannot be read.
        """
        if isinstance(source, Mapping):
            return cls(kind, from_mapping(source), kind.noun)
        library, name = kind.library, fspath(source)
        path = library.find(name)
        return cls(kind, compose(path, library, library.shown(path, name), kind.settle), path.stem)

    @classmethod
    def of_text(cls, kind: Kind[Model], text: Source, name: str, *, resolvers: bool) -> Document[Model]:
        """Read a YAML text that inherits nothing.

        Raises:
            SpecError: it is not the YAML of a mapping.
        """
        return cls(kind, read_text(text), name, resolvers)

    def read(self, changes: Sequence[Override] = (), *, stacklevel: int = 2) -> Model:
        """The document with these overrides, checked.

        The kind's `normalise` runs after inheritance and before overrides, but overrides of the keys in `first` come
        before it. So an override finds the cells of a table by the names of its columns.

        Raises:
            SpecError: with every problem found.

        Warns:
            SpecWarning: what is probably not meant, with the caller's place at `stacklevel`.
        """
        kind = self.kind
        early = [change for change in changes if change.path[0] in kind.first]
        others = [change for change in changes if change.path[0] not in kind.first]
        tree, problems = kind.normalise(edits.apply(self.tree, early, kind), again=False)
        if others:
            tree, more = kind.normalise(edits.apply(tree, others, kind), again=True)
            problems = problems + more
        if "name" in kind.model.model_fields and "name" not in tree.items:
            tree = tree.with_item("name", Scalar(self.name, tree.span))
        model = _Checked(kind, tree, self.resolvers).build(problems)
        for warning in model.warnings:
            warnings.warn(str(warning), SpecWarning, stacklevel=stacklevel)
        return model

    def sweep(self, changes: Sequence[Override], *, stacklevel: int = 2) -> Iterator[tuple[list[Override], Model]]:
        """Every document that swept overrides stand for, each with the overrides that made it.

        Raises:
            SpecError: with every problem found, when the first document that has one is reached.
        """
        for chosen in overrides.sweep(changes):
            yield chosen, self.read(chosen, stacklevel=stacklevel + 1)


@dataclass
class _Checked(Generic[Model]):
    """The text behind a checked model: it knows where every value was written, and makes variants (a `Provenance`)."""

    kind: Kind[Model]
    tree: Map
    resolvers: bool
    memory: dict[Any, Any] = field(default_factory=dict)
    interpolated: Sequence[interpolation.Leaf] | None = None
    resolved: Map | None = None

    def span(self, path: Path) -> Span | None:
        span = locate(self.resolved or self.tree, path, key=False)
        return span if span.source.kind != "python" else None

    def text(self, path: Path) -> str:
        node = find(self.tree, path)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""

    def override(self, model: Any, changes: Mapping[str, object]) -> Any:
        parsed = []
        for key, value in changes.items():
            path = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
            parsed.append(_PythonOverride(key, "change", path, (value,)))
        tree = edits.apply(self.tree, parsed, self.kind)
        if all(self._stands_alone(key, value) for key, value in changes.items()):
            made = self._reset(model, tree, parsed)
            if made is not None:
                return made
        tree, problems = self.kind.normalise(tree, again=True)
        return _Checked(self.kind, tree, self.resolvers, dict(self.memory)).build(problems)

    def _stands_alone(self, key: str, value: object) -> bool:
        """Whether a change of this key changes no other value: a top-level number that no interpolation refers to."""
        if not isinstance(value, int | float) or key not in self.kind.keys or key in self.kind.readers:
            return False
        leaves = self.interpolated or []
        return all(path[0] != key and not interpolation.may_reach(key, leaf) for path, leaf in leaves)

    def _reset(self, model: Model, tree: Map, changes: Sequence[Override]) -> Model | None:
        """The model with top-level numbers changed and all else kept as it was checked; None where that fails.

        What fails is read anew as a whole, which finds the problem and the place.
        """
        assert self.resolved is not None
        fields = type(model).model_fields
        values = {fields[name].alias or name: getattr(model, name) for name in model.model_fields_set}
        values |= {str(change.path[0]): change.values[0] for change in changes}
        try:
            made = self.kind.model.model_validate(values)
        except ValidationError:
            return None
        resolved = edits.apply(self.resolved, changes, self.kind)
        return _Checked(self.kind, tree, self.resolvers, self.memory, self.interpolated, resolved).trace(made)

    def build(self, problems: Sequence[Diagnostic]) -> Model:
        """Resolve interpolations and validate; all problems of both are reported together."""
        if self.interpolated is None:
            self.interpolated = interpolation.leaves(self.tree)
        try:
            resolution = interpolation.resolve(
                self.tree, self.interpolated, self.kind.defaults, noun=self.kind.noun, resolvers=self.resolvers
            )
        except SpecError as error:
            raise SpecError([*problems, *error.diagnostics]) from None
        self.resolved = resolution.tree
        found = [*problems, *resolution.problems]
        reading = Reading(self.resolved, found, self.memory)
        readers = self.kind.readers
        values = {
            key: readers[key](node, reading) if key in readers else plain(node)
            for key, node in self.resolved.items.items()
        }
        try:
            model = self.kind.model.model_validate(values)
        except ValidationError as error:
            found.extend(from_validation(error, self.resolved, (), self.kind.model, self.kind.a))
        if found:
            echoes = interpolation.echoes(found, self.interpolated, self.tree, resolution)
            raise SpecError(in_order([problem for problem in found if id(problem) not in echoes]))
        return self.trace(model)

    def trace(self, model: Model) -> Model:
        """The model, with what it needs to say where its values came from."""
        model._provenance = self
        model._warnings = tuple(self.kind.lint(model))
        return model


def in_order(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Sort problems by their place in the text, those in files first, and drop duplicates."""

    def place(problem: Diagnostic) -> tuple[bool, str, int, int]:
        span = problem.span
        if span is None or span.source.kind != "file":
            return (span is not None, "", 0, 0)
        return (False, span.source.name, span.line, span.column)

    return sorted(dict.fromkeys(found), key=place)


class _PythonOverride(Override):
    """An override from Python code. There is no text to point into."""

    @property
    def source(self) -> Source:
        return Source(visible(f"override `{self.text}={self.values[0]!r:.60}`"), "", "python")

    def part_span(self, depth: int) -> Span:
        return Span(self.source, 1, 1)
