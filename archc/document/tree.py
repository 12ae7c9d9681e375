"""A document with positions, as YAML and overrides are read, before any model checks it.

Three node kinds, each knowing the span it came from, so that a value that was merged from a parent file or
set by an override still points at its own text. Nodes are never changed in place; edits build new ones that
share what they did not touch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from archc.document.diagnostics import Source, Span, fail

MAX_DEPTH = 40
MAX_BITS = 256

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value."""

    value: object
    span: Span


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    items: tuple[Tree, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping; `keys` are the spans of the keys that have a text of their own."""

    items: Mapping[str, Tree]
    span: Span
    keys: Mapping[str, Span] = field(default_factory=dict)

    def key_span(self, key: str) -> Span:
        """Where a key stands, or else the mapping."""
        return self.keys.get(key, self.span)

    def with_item(self, key: str, value: Tree, key_span: Span | None = None) -> Map:
        """A copy in which `key` is `value`."""
        return replace(
            self,
            items={**self.items, key: value},
            keys={**self.keys, key: key_span or self.keys.get(key, value.span)},
        )

    def without(self, key: str) -> Map:
        """A copy without `key`."""
        return replace(self, items={k: v for k, v in self.items.items() if k != key})


@dataclass(frozen=True, slots=True)
class Unread(Map):
    """A mapping that could not be read, whose problem is reported. It keeps its place, so that others keep theirs."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A list, and a child file's mapping laid on it that names more than the list's items.

    Where the list is a row of a table, the mapping names columns, and reading the table joins the two. Elsewhere it is
    a mistake.
    """

    row: Tree
    changes: Map

    @property
    def span(self) -> Span:
        """Where the changes stand."""
        return self.changes.span


Tree = Scalar | Seq | Map | Patch


def spans(tree: Tree) -> Iterator[Span]:
    """The spans of all nodes of a tree."""
    yield tree.span
    if isinstance(tree, Patch):
        yield from spans(tree.row)
        yield from spans(tree.changes)
    elif not isinstance(tree, Scalar):
        for item in tree.items.values() if isinstance(tree, Map) else tree.items:
            yield from spans(item)


def plain(tree: Tree) -> object:
    """The tree as ordinary dicts, lists and scalars."""
    if isinstance(tree, Map):
        return {key: plain(value) for key, value in tree.items.items()}
    if isinstance(tree, Seq):
        return [plain(item) for item in tree.items]
    return plain(tree.changes) if isinstance(tree, Patch) else tree.value


def check_text(text: str, span: Span) -> None:
    """Refuse a text that no encoding can write.

    Raises:
        SpecError: a surrogate stands alone in the text.
    """
    if surrogate := re.search("[\ud800-\udfff]", text):
        raise fail("invalid-value", f"half a character (`\\u{ord(surrogate[0]):04x}`) in a text", span)


def from_mapping(value: Mapping[str, object]) -> Map:
    """A tree of a mapping that Python code passed in; positions are paths in it.

    Raises:
        SpecError: nested too deeply, or in itself; text or numbers that no file could hold.
    """
    tree = _from_python(value, ())
    assert isinstance(tree, Map)
    return tree


def _from_python(value: object, path: Path) -> Tree:
    span = python_span(f"the mapping's `{dotted(path)}`" if path else "the mapping")
    if isinstance(value, Mapping) and len(path) <= MAX_DEPTH:
        items = {str(key): _from_python(item, (*path, str(key))) for key, item in value.items()}
        check_text("".join(items), span)
        return Map(items, span, {key: item.span for key, item in items.items()})
    if isinstance(value, list | tuple) and len(path) <= MAX_DEPTH:
        return Seq(tuple(_from_python(item, (*path, index)) for index, item in enumerate(value)), span)
    return from_plain(value, span, len(path))


def from_plain(value: object, span: Span, depth: int = 0) -> Tree:
    """A tree of plain values, every node at one span: an override's.

    Raises:
        SpecError: nested too deeply, or in itself; text or numbers that no file could hold.
    """
    if depth > MAX_DEPTH:
        raise fail("too-deep", f"nested more than {MAX_DEPTH} levels deep", span)
    if isinstance(value, Mapping):
        items = {str(key): from_plain(item, span, depth + 1) for key, item in value.items()}
        check_text("".join(items), span)
        return Map(items, span, dict.fromkeys(items, span))
    if isinstance(value, list | tuple):
        return Seq(tuple(from_plain(item, span, depth + 1) for item in value), span)
    if isinstance(value, str) and not value.isascii():
        check_text(value, span)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise fail("invalid-value", "a number of more digits than any value here has", span)
    return Scalar(value, span)


def python_span(name: str) -> Span:
    """A span for values that Python code passed in; there is no text to point into."""
    return Span(Source(name, "", "python"), 1, 1)


def merge(base: Tree, over: Tree) -> Tree:
    """`over` laid on `base`, as Hydra composes: mappings merge key by key, anything else is replaced.

    Beyond Hydra, a mapping of indices laid on a list changes those items only: `c4: {0: {out: 48}}`.
    """
    if isinstance(base, Seq | Patch) and isinstance(over, Map) and over.items:
        return _patch(base, over)
    if not (isinstance(base, Map) and isinstance(over, Map)):
        return over
    items = dict(base.items)
    for key, value in over.items.items():
        items[key] = merge(items[key], value) if key in items else value
    return Map(items, over.span, {**base.keys, **over.keys})


def _patch(base: Seq | Patch, over: Map) -> Tree:
    if isinstance(base, Patch) or not all(is_index(key) and int(key) < len(base.items) for key in over.items):
        return Patch(base, over)
    items = list(base.items)
    for key, value in over.items.items():
        items[int(key)] = merge(items[int(key)], value)
    return replace(base, items=tuple(items))


def is_index(key: str) -> bool:
    """Whether a key is the number of a list's item."""
    return key.isascii() and key.isdecimal() and len(key) <= 9


def child(tree: Tree, key: str | int) -> Tree | None:
    """The node under one key or index, or None."""
    if isinstance(tree, Map):
        return tree.items.get(str(key))
    if isinstance(tree, Seq) and isinstance(key, int) and -len(tree.items) <= key < len(tree.items):
        return tree.items[key]
    return None


def find(tree: Tree, path: Path) -> Tree | None:
    """The node at a path, or None."""
    node: Tree | None = tree
    for key in path:
        node = child(node, key) if node is not None else None
    return node


def locate(tree: Tree, path: Path, *, key: bool = False) -> Span:
    """The span of the value at a path, or of its nearest ancestor that exists.

    With `key`, the span of the last key of the path rather than of its value, where that key exists.
    """
    node = tree
    for depth, part in enumerate(path):
        below = child(node, part)
        if below is None:
            return node.span
        if key and depth == len(path) - 1 and isinstance(node, Map):
            return node.key_span(str(part))
        node = below
    return node.span


def replace_at(tree: Tree, path: Path, value: Tree, key_span: Span | None = None) -> Tree:
    """A tree with `value` at `path`; mappings that are missing on the way are made."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(tree, Map):
        name = str(head)
        below = tree.items.get(name) or Map({}, value.span)
        new = replace_at(below, rest, value, key_span)
        return tree.with_item(name, new, key_span if not rest else None)
    if isinstance(tree, Seq) and isinstance(head, int):
        items = list(tree.items)
        items[head] = replace_at(items[head], rest, value, key_span)
        return replace(tree, items=tuple(items))
    raise KeyError(head)


def replace_all(tree: Tree, values: Mapping[Path, Tree]) -> Tree:
    """A tree with each of these values at its path, which must exist. Every node on the way is copied only once."""
    branches: dict[str | int, dict[Path, Tree]] = {}
    for path, value in values.items():
        if not path:
            return value
        branches.setdefault(path[0], {})[path[1:]] = value
    if not branches:
        return tree
    if isinstance(tree, Map):
        changed = {str(key): replace_all(tree.items[str(key)], below) for key, below in branches.items()}
        keys = {**{key: value.span for key, value in changed.items()}, **tree.keys}
        return replace(tree, items={**tree.items, **changed}, keys=keys)
    assert isinstance(tree, Seq)
    items = list(tree.items)
    for index, below in branches.items():
        items[int(index)] = replace_all(items[int(index)], below)
    return replace(tree, items=tuple(items))


def dotted(path: Path) -> str:
    """`stages.c4.0.out`."""
    return ".".join(str(part) for part in path)
