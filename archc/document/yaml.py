"""YAML text to a `Tree` with positions, strictly.

PyYAML parses; the tree is built here from its event stream, because the stream is where duplicate keys, tags,
aliases, depth and positions are all still visible. Plain scalars follow the YAML 1.2 core schema, as Hydra's
override grammar does: `on` and `12:30` are strings, `1e-3` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from archc.document.diagnostics import LINE_BREAK, Diagnostic, Source, Span, SpecError, did_you_mean, fail
from archc.document.scalars import INTEGER, MAX_DIGITS, plain_scalar
from archc.document.tree import MAX_DEPTH, Map, Scalar, Seq, Tree, check_text

MAX_BYTES = 1_000_000
MAX_NODES = 50_000

_Value = TypeVar("_Value")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_file(path: Path, name: str | None = None) -> Map:
    """Read one file.

    Raises:
        SpecError: unreadable, not UTF-8, too large, or not the YAML that `read_text` accepts.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise fail("not-a-file", f"`{name}` is a directory, not a file") from None
    except FileNotFoundError:
        known = [str(other) for other in path.parent.glob("*.y*ml")][:1000]
        raise fail("file-not-found", f"there is no file `{name}`", label=did_you_mean(str(path), known)) from None
    except (OSError, ValueError) as error:
        raise fail("unreadable-file", f"cannot read `{name}`: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise fail("too-large", f"`{name}` is larger than {MAX_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise fail(
            "not-utf8",
            f"`{name}` is not UTF-8: byte {data[error.start]:#04x} at offset {error.start} (line {line})",
            help="save the file as UTF-8",
        ) from None
    return read_text(Source(name, text))


def read_text(source: Source) -> Map:
    """Read one YAML document whose top is a mapping.

    Raises:
        SpecError: with every problem found: a syntax error ends the reading, the others do not.
    """
    builder = _Builder(source)
    try:
        tree = builder.document()
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(error, builder)]) from None
    except yaml.reader.ReaderError as error:
        raise SpecError([_character_problem(error, source)]) from None
    if builder.problems:
        raise SpecError(builder.problems)
    return tree


def _stacked(layers: Iterable[Mapping[str, _Value]]) -> dict[str, _Value]:
    """Mappings laid over each other. A key has the value of the last one that has it, and the position of the first."""
    result: dict[str, _Value] = {}
    for layer in layers:
        result.update(layer)
    return result


def _merged(value: Tree) -> list[Map]:
    """What `<<` merges in: a mapping, or a list of them."""
    bases = value.items if isinstance(value, Seq) else (value,)
    return [base for base in bases if isinstance(base, Map)] if all(isinstance(base, Map) for base in bases) else []


def _syntax_problem(error: yaml.MarkedYAMLError, builder: _Builder) -> Diagnostic:
    """PyYAML's complaint in words that help, or in its own where no better ones are known."""
    mark = error.problem_mark or error.context_mark
    opened = error.context_mark
    problem, source = str(error.problem or "the YAML ends too early"), builder.source
    line = source.line(mark.line + 1) if mark else ""
    message, help = f"not valid YAML: {problem}", ""
    if mark and line[mark.column : mark.column + 1] == "\t":
        message, help = "a tab where YAML wants spaces", "indent with spaces"
    elif "expected ':'" in problem:
        mark = opened or mark  # the key that has no colon, not the line after it
        message, help = "a key without a value", "write `key: value`"
    elif "expected ',' or" in problem:
        bracket, opening = problem.rpartition("or ")[2].strip("'"), "{" if "}" in problem else "["
        message = f"a `{opening}` is not closed, or a comma is missing"
        help = f"close it with `{bracket}`"
        if opened and mark and opened.line != mark.line:
            message += f"; it opens on line {opened.line + 1}"
        if re.search(r"[^\"']\$\{", line):
            help = 'inside brackets a reference is quoted: `"${name}"`'
    elif "expected '-' indicator" in problem or "expected key" in problem or "block end" in problem:
        message, help = "the line does not fit those above it", "look at its indentation"
    elif "mapping values are not allowed" in problem:
        message, help = "a `:` where no key can stand", "quote a text that holds `: `, or look at the indentation"
    elif "unexpected end of stream" in problem:
        message, help = "a quote is not closed", "it opens here"
        mark = opened or mark
    elif "special characters" in problem or "control characters" in problem:
        message, help = "a character that text files do not hold", "remove it; the file may be damaged or binary"
    elif "anchor" in problem or "alias" in problem:
        message, help = (
            f"not valid YAML: {problem}",
            "quote a text that begins with `&` or `*`",
        )
    return Diagnostic("yaml-syntax", message, builder.span(mark) if mark else None, help=help)


def _character_problem(error: yaml.reader.ReaderError, source: Source) -> Diagnostic:
    """A character that YAML does not allow; the error counts characters, or bytes in the C parser."""
    bad = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", source.text)
    span, code = None, ""
    if bad:
        before = re.split(LINE_BREAK, source.text[: bad.start()])
        span, code = Span(source, len(before), len(before[-1]) + 1), f" (U+{ord(bad[0]):04X})"
    message = f"a character that text files do not hold{code}"
    return Diagnostic("yaml-syntax", message, span, help="remove it; the file may be damaged or binary")


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Diagnostic] = []
        self.anchors: dict[str, tuple[Tree, int]] = {}
        self.count = 0
        self.events = yaml.parse(source.text, Loader=_Loader)

    def document(self) -> Map:
        self._next(yaml.StreamStartEvent)
        start = Span(self.source, 1, 1)
        if isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise fail("empty-spec", f"`{self.source.name}` holds nothing", start)
        tree = self._node(next(self.events), 0)
        self._next(yaml.DocumentEndEvent)
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise fail(
                "yaml-documents",
                "a file holds one YAML document; this one holds more",
                self.span(event.start_mark),
                help="split it into files, or remove the `---`",
            )
        if isinstance(tree, Scalar) and tree.value is None:
            raise fail("empty-spec", f"`{self.source.name}` holds nothing", start)
        if not isinstance(tree, Map):
            raise fail("not-a-mapping", "the top of the file must be a mapping of keys to values", tree.span)
        return tree

    def span(self, start: Any, end: Any = None) -> Span:
        """The span between two of PyYAML's marks, whose types differ between its two parsers."""
        length = end.column - start.column if end and end.line == start.line else 0
        if end and end.line != start.line:
            length = len(self.source.line(start.line + 1).rstrip()) - start.column
        return Span(self.source, start.line + 1, start.column + 1, max(length, 1))

    def _next(self, kind: type[yaml.Event]) -> None:
        event = next(self.events)
        assert isinstance(event, kind), event

    def _problem(self, id: str, message: str, span: Span, help: str = "") -> None:
        self.problems.append(Diagnostic(id, message, span, help=help))

    def _charge(self, nodes: int, span: Span) -> None:
        # Aliases are charged what they expand to, so a "billion laughs" file stops here.
        self.count += nodes
        if self.count > MAX_NODES:
            raise fail("too-large", f"the document expands to more than {MAX_NODES:,} values", span)

    def _node(self, event: yaml.Event, depth: int) -> Tree:
        span = self.span(event.start_mark, event.end_mark)
        if depth > MAX_DEPTH:
            raise fail("too-deep", f"nested more than {MAX_DEPTH} levels deep", span)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise fail("yaml-syntax", f"alias `*{event.anchor}` has no anchor above it", span)
            known, size = self.anchors[event.anchor]
            self._charge(size, span)
            return known
        before = self.count
        self._charge(1, span)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._problem("yaml-tag", f"the YAML tag `{tag}` is not allowed", span, "write a plain value")
        if isinstance(event, yaml.ScalarEvent):
            tree: Tree = Scalar(self._scalar(event, span), span)
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self._sequence(event, depth)
        else:
            assert isinstance(event, yaml.MappingStartEvent), event
            tree = self._mapping(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = tree, self.count - before
        return tree

    def _sequence(self, start: yaml.SequenceStartEvent, depth: int) -> Seq:
        items: list[Tree] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Seq(tuple(items), self._collection_span(start, event))

    def _mapping(self, start: yaml.MappingStartEvent, depth: int) -> Map:
        items: dict[str, Tree] = {}
        keys: dict[str, Span] = {}
        merged: list[Map] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key_span = self.span(event.start_mark, event.end_mark)
            key = self._key(event, key_span, depth)
            value = self._node(next(self.events), depth + 1)
            if key == "<<" and not getattr(event, "style", "") and (bases := _merged(value)):
                merged += bases
            elif key in items:
                first = keys[key]
                self._problem(
                    "duplicate-key", f"`{key}` is given twice", key_span, f"it is already set on line {first.line}"
                )
            elif key is not None:
                items[key], keys[key] = value, key_span
        if merged:
            # The first mapping that has a key gives its value, after the mapping itself.
            items = _stacked([*(base.items for base in reversed(merged)), items])
            keys = _stacked([*(base.keys for base in reversed(merged)), keys])
        return Map(items, self._collection_span(start, event), keys)

    def _collection_span(self, start: yaml.CollectionStartEvent, end: yaml.Event) -> Span:
        # A block collection ends where the next key begins, so its last line is unknown: point at its first.
        return self.span(start.start_mark, end.end_mark if start.flow_style else start.end_mark)

    def _key(self, event: yaml.Event, span: Span, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            self._node(event, depth)
            return str(event.value)
        self._node(event, depth + 1)
        self._problem("yaml-key", "a key must be a plain word", span)
        return None

    def _scalar(self, event: yaml.ScalarEvent, span: Span) -> object:
        text: str = event.value
        check_text(text, span)
        if event.style:  # quoted or a block scalar; plain is None, or "" from the C parser
            return text
        if len(text) > MAX_DIGITS and INTEGER.fullmatch(text):
            self._problem("invalid-value", f"a number of {len(text)} digits", span)
            return 0
        return plain_scalar(text)
