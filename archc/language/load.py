"""From a path, a bundled name or a mapping, and overrides, to a checked `Spec`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from os import PathLike, fspath
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from archc.document import edits, interpolation, library, overrides
from archc.document.compose import compose
from archc.document.diagnostics import Diagnostic, Source, Span, SpecError, SpecWarning, printable
from archc.document.errors import from_validation, unplaced
from archc.document.overrides import Override
from archc.document.tree import (
    Map,
    Patch,
    Scalar,
    Seq,
    Tree,
    Unread,
    find,
    from_mapping,
    from_plain,
    locate,
    plain,
    python_span,
)
from archc.document.tree import Path as TreePath
from archc.language.lint import lint
from archc.language.registry import BlockRegistry
from archc.language.row import Row
from archc.language.schema import STAGE_NAME, Spec
from archc.language.settings import Settings
from archc.language.table import normalise, settled
from archc.language.values import FrozenDict, show

Origin = str | PathLike[str] | Mapping[str, Any]


def load(source: Origin, changes: Sequence[str] = (), *, blocks: BlockRegistry) -> Spec:
    """Load one spec.

    Raises:
        SpecError: with every problem found.
    """
    document = Document.open(source, blocks)
    return document.spec(overrides.parse(changes))


def sweep(source: Origin, changes: Sequence[str], *, blocks: BlockRegistry) -> Iterator[tuple[list[Override], Spec]]:
    """Load every spec that swept overrides stand for, each with the overrides that made it; the file is read once.

    Raises:
        SpecError: with every problem found, when the first spec that has one is reached.
    """
    document = Document.open(source, blocks)
    for chosen in overrides.sweep(overrides.parse(changes)):
        yield chosen, document.spec(chosen)


@dataclass(frozen=True)
class Document:
    """A spec file with what it inherits, before tables, overrides and interpolation."""

    tree: Map
    name: str
    blocks: BlockRegistry

    @classmethod
    def open(cls, source: Origin, blocks: BlockRegistry) -> Document:
        """Read a file, a bundled spec, or a mapping of Python values."""
        if isinstance(source, Mapping):
            return cls(from_mapping(source), "spec", blocks)
        path = library.find(fspath(source))
        return cls(compose(path, library.shown(path, fspath(source)), settled), path.stem, blocks)

    def spec(self, changes: Sequence[Override] = ()) -> Spec:
        """The spec with these overrides.

        Tables are read after inheritance and before overrides, so an override finds cells by column name; one that
        changes the table itself comes before.
        """
        about_table = [change for change in changes if change.path[0] == "table"]
        others = [change for change in changes if change.path[0] != "table"]
        tree, problems = normalise(edits.apply(self.tree, about_table), self.blocks)
        if others:
            tree, more = normalise(edits.apply(tree, others), self.blocks, again=True)
            problems = problems + more
        if "name" not in tree.items:
            tree = tree.with_item("name", Scalar(self.name, tree.span))
        spec = _Checked(tree, self.blocks).build(problems)
        for warning in spec.warnings:
            warnings.warn(str(warning), SpecWarning, stacklevel=3)
        return spec


@cache
def _defaults() -> Map:
    """The schema's own values, for interpolations to refer to where a spec does not state them."""
    given = ("name", "stages", "table", "vars")
    fields = {name: info.default for name, info in Spec.model_fields.items() if name not in given}
    values = {
        name: value.model_dump(exclude_none=True) if isinstance(value, Settings) else value
        for name, value in fields.items()
        if value is not None
    }
    tree = from_plain(values, python_span("the defaults"))
    assert isinstance(tree, Map)
    return tree


@dataclass
class _Checked:
    """Where a spec's values came from (`schema.Origin`), and the rows already checked, by the node they came from."""

    tree: Map
    blocks: BlockRegistry
    rows: dict[tuple[str, int, int], tuple[Tree, Row]] = field(default_factory=dict)
    interpolated: list[tuple[TreePath, Scalar]] | None = None
    resolved: Map | None = None

    def span(self, path: TreePath) -> Span | None:
        span = locate(self.resolved or self.tree, path, key=False)
        return span if span.source.kind != "python" else None

    def text(self, path: TreePath) -> str:
        node = find(self.tree, path)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""

    def override(self, spec: Spec, changes: Mapping[str, object]) -> Spec:
        parsed = []
        for key, value in changes.items():
            path = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
            parsed.append(_PythonOverride(key, "change", path, (value,)))
        tree = edits.apply(self.tree, parsed)
        if all(self._stands_alone(key, value) for key, value in changes.items()):
            return self._reset(spec, tree, parsed)
        tree, problems = normalise(tree, self.blocks, again=True)
        return _Checked(tree, self.blocks, dict(self.rows)).build(problems)

    def _stands_alone(self, key: str, value: object) -> bool:
        """Whether a change of this key can reach no row: a number at the top that no interpolation may refer to."""
        if not isinstance(value, int | float) or key not in Spec.model_fields:
            return False
        return all(path[0] != key and key not in str(leaf.value) for path, leaf in self.interpolated or [])

    def _reset(self, spec: Spec, tree: Map, changes: Sequence[Override]) -> Spec:
        """The spec with top-level numbers changed and everything else, checked as it is, kept."""
        assert self.resolved is not None
        resolved = edits.apply(self.resolved, changes)
        values = {name: getattr(spec, name) for name in spec.model_fields_set}
        values |= {str(change.path[0]): change.values[0] for change in changes}
        made = _Checked(tree, self.blocks, self.rows, self.interpolated, resolved)
        try:
            return made.trace(Spec.model_validate(values))
        except ValidationError as error:
            raise SpecError(_in_order(from_validation(error, resolved, (), Spec))) from None

    def build(self, problems: list[Diagnostic]) -> Spec:
        """Resolve interpolations and validate; all problems of both are reported together."""
        try:
            if self.interpolated is None:
                self.interpolated = interpolation.leaves(self.tree)
            self.resolved = interpolation.resolve(self.tree, self.interpolated, _defaults())
        except SpecError as error:
            raise SpecError([*problems, *error.diagnostics]) from None
        found: list[Diagnostic] = list(problems)
        values: dict[str, object] = {k: plain(v) for k, v in self.resolved.items.items() if k != "stages"}
        if "stages" in self.resolved.items:
            values["stages"] = self._stages(self.resolved.items["stages"], found)
        try:
            spec = Spec.model_validate(values)
        except ValidationError as error:
            found.extend(from_validation(error, self.resolved, (), Spec))
        if found:
            repeated = interpolation.echoes(found, self.interpolated, self.tree)
            raise SpecError(_in_order([problem for problem in found if problem not in repeated]))
        return self.trace(spec)

    def trace(self, spec: Spec) -> Spec:
        """The spec, with what it needs to say where its values came from."""
        spec._origin = self
        spec._warnings = tuple(lint(spec))
        return spec

    def _stages(self, stages: Tree, found: list[Diagnostic]) -> object:
        if not isinstance(stages, Map):
            return plain(stages)
        result: dict[str, tuple[Row, ...]] = {}
        for name, rows in stages.items.items():
            if not STAGE_NAME.fullmatch(name) or name == "input":
                help = "`input` is the network's own" if name == "input" else "use letters, digits and `_`"
                found.append(
                    Diagnostic("invalid-value", f"`{name}` cannot name a stage", stages.key_span(name), help=help)
                )
            if not isinstance(rows, Seq) or all(isinstance(row, Scalar) for row in rows.items):
                found.append(_not_rows(name, rows, stages.key_span(name)))
                result[name] = ()
                continue
            checked = [self._row(name, index, row, found) for index, row in enumerate(rows.items)]
            result[name] = tuple(checked)
        return FrozenDict(result)

    def _row(self, stage: str, index: int, node: Tree, found: list[Diagnostic]) -> Row:
        key = (stage, index, id(node))
        if key in self.rows:
            return self.rows[key][1]
        path = ("stages", stage, index)
        values = plain(node)
        row: Row = Row.model_construct(block="")
        if isinstance(node, Unread):
            pass
        elif not isinstance(values, dict):
            help = f"write `{{block: {values}}}`" if isinstance(values, str) else ""
            found.append(
                Diagnostic("invalid-value", f"a row is a list or a mapping, not {show(values)}", node.span, help=help)
            )
        elif "block" not in values:
            found.append(
                Diagnostic("missing-key", "this row names no `block`", node.span, help="or name one in `table.block`")
            )
        else:
            try:
                block = self.blocks.get(values["block"])
            except PydanticCustomError as error:
                found.append(unplaced(error, locate(node, ("block",))))
                return row
            try:
                row = block.model_validate(values).placed(stage, index)
                self.rows[key] = node, row
            except ValidationError as error:
                assert self.resolved is not None
                found.extend(from_validation(error, self.resolved, path, block, f"`{values['block']}`"))
        return row


class _PythonOverride(Override):
    """An override that Python code passed in: there is no text to point into."""

    @property
    def source(self) -> Source:
        return Source(printable(f"override `{self.text}={self.values[0]!r:.60}`"), "", "python")

    def part_span(self, depth: int) -> Span:
        return Span(self.source, 1, 1)


def _not_rows(stage: str, node: Tree, key_span: Span) -> Diagnostic:
    """What is wrong with a stage that is not a list of rows."""
    span = node.span if isinstance(node, Seq | Scalar) else key_span
    help = f"write `{stage}:` and below it one `- ` line a row"
    if isinstance(node, Map | Patch):
        help = "write `- ` before each row; to change an inherited row, write its number: `{0: {out: 48}}`"
    elif isinstance(node, Seq):
        help = "one row is a list itself: `[[3, 16]]`, or a mapping: `[{block: conv, out: 16}]`"
        if not node.items:
            help = "remove it, or write `null` to leave an inherited stage out"
    return Diagnostic("invalid-value", f"stage `{stage}` must be a list of rows", span, help=help)


def _in_order(found: list[Diagnostic]) -> list[Diagnostic]:
    """In the order of the text, files first; nothing twice."""

    def place(problem: Diagnostic) -> tuple[bool, str, int, int]:
        span = problem.span
        if span is None or span.source.kind != "file":
            return (span is not None, "", 0, 0)
        return (False, span.source.name, span.line, span.column)

    return sorted(dict.fromkeys(found), key=place)
