"""Overrides: Hydra's grammar, applied to a tree with positions.

Hydra parses; applying is done here because Hydra's own cannot delete or append list items, and answers a wrong
index with a Python traceback.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from archc.spec.diagnostics import Diagnostic, Source, Span, SpecError, did_you_mean, fail, one_of
from archc.spec.tree import Map, Path, Seq, Tree, dotted, find, from_plain, merge, replace_at

MAX_SWEEP = 100_000

Action = Literal["change", "add", "force", "delete"]
_PREFIX: dict[Action, str] = {"change": "", "add": "+", "force": "++", "delete": "~"}

OPEN_MAPPINGS = {("stages",), ("vars",), ("outputs",), ("table", "defaults")}
"""Mappings whose keys are the author's own, so that a new key must be asked for with `+`."""


@dataclass(frozen=True, slots=True)
class Override:
    """One override, parsed: what to do at a path, and every value to do it with (one, unless it is a sweep)."""

    text: str
    action: Action
    path: Path
    values: tuple[object, ...]
    swept: bool = False

    @property
    def source(self) -> Source:
        """The override as a text that diagnostics point into."""
        return Source(f"override `{self.text}`", self.text, "override")

    @property
    def key_span(self) -> Span:
        """Where its key stands."""
        start = len(_PREFIX[self.action])
        return Span(self.source, 1, start + 1, max(1, len(self.text[start:].partition("=")[0])))

    @property
    def value_span(self) -> Span:
        """Where its value stands; the key, if it has none."""
        key, equals, value = self.text.partition("=")
        return Span(self.source, 1, len(key) + 2, max(1, len(value))) if equals else self.key_span

    def chosen(self, value: object) -> Override:
        """The override with one of a sweep's values."""
        text = f"{_PREFIX[self.action]}{dotted(self.path)}={_literal(value)}"
        return replace(self, text=text, values=(value,), swept=False)


def parse(texts: Sequence[str]) -> list[Override]:
    """Parse overrides written in Hydra's grammar.

    Raises:
        SpecError: listing every override that cannot be read.
    """
    if not texts:
        return []
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed: list[Override] = []
    problems: list[Diagnostic] = []
    for text in texts:
        span = Span(Source(f"override `{text}`", text, "override"), 1, 1, max(1, len(text)))
        try:
            item = parser.parse_override(text)
            if item.package is not None or not item.key_or_group:
                raise HydraException("expected KEY=VALUE, +KEY=VALUE or ~KEY")
            action: Action = "delete" if item.is_delete() else "force" if item.is_force_add() else "change"
            action = "add" if item.is_add() else action
            path: Path = tuple(int(p) if p.isdecimal() else p for p in item.key_or_group.split("."))
            if item.is_sweep_override():
                values: tuple[object, ...] = tuple(itertools.islice(item.sweep_iterator(), MAX_SWEEP + 1))
            else:
                values = (item.value(),)
            parsed.append(Override(text, action, path, tuple(map(_plain_value, values)), item.is_sweep_override()))
        except (HydraException, ValueError, TypeError, RecursionError) as error:
            reason = str(error).strip().splitlines()
            message = f"cannot read the override `{text}`: {reason[0] if reason else type(error).__name__}"
            problems.append(
                Diagnostic("override-syntax", message, span, help="write key=value; quote what is not plain")
            )
    if problems:
        raise SpecError(problems)
    return parsed


def _plain_value(value: object) -> object:
    # Hydra wraps quoted strings, and keeps the quotes' kind; only the text matters here.
    if type(value).__name__ == "QuotedString":
        return str(getattr(value, "text", value))
    if isinstance(value, list):
        return [_plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(_plain_value(k)): _plain_value(v) for k, v in value.items()}
    return value


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{_literal(v)}' for k, v in value.items())}}}"
    return str(value)


def sweep(overrides: Sequence[Override]) -> Iterator[list[Override]]:
    """Every combination of the swept values, in Hydra's order: the last override varies fastest.

    Raises:
        SpecError: more combinations than can be meant.
    """
    total = math.prod(len(override.values) for override in overrides)
    if total > MAX_SWEEP:
        swept = next(o for o in overrides if o.swept)
        raise fail("too-large", f"the sweep has more than {MAX_SWEEP:,} combinations", swept.value_span)
    choices = [[o.chosen(v) for v in o.values] if o.swept else [o] for o in overrides]
    for combination in itertools.product(*choices):
        yield list(combination)


def apply(tree: Map, overrides: Sequence[Override], known: frozenset[str]) -> Map:
    """The tree with every override applied, in order. `known` are the spec's own top-level keys.

    Raises:
        SpecError: listing every override that does not fit the tree.
    """
    problems: list[Diagnostic] = []
    result: Tree = tree
    for override in overrides:
        try:
            result = _apply(result, override, known)
        except SpecError as error:
            problems.extend(error.diagnostics)
    if problems:
        raise SpecError(problems)
    assert isinstance(result, Map)
    return result


def _apply(tree: Tree, override: Override, known: frozenset[str]) -> Tree:
    if override.swept:
        raise fail(
            "override-syntax",
            f"`{override.text}` is a sweep, which gives many specs; here one is needed",
            override.value_span,
            help="`archc report` takes sweeps; for a list, write [a,b]",
        )
    path = override.path
    parent = _parent(tree, override, known)
    if override.action == "delete":
        return _delete(tree, override, parent)
    value = from_plain(override.values[0], override.value_span)
    key, current = path[-1], find(tree, path)
    if override.action == "add" and current is not None:
        raise fail(
            "override-conflict",
            f"`{dotted(path)}` exists already",
            override.key_span,
            help=f"write `{override.text[1:]}` to change it",
        )
    if isinstance(parent, Seq):
        return _set_item(tree, override, parent, value, current)
    is_open = tuple(path[:-1]) in OPEN_MAPPINGS
    if override.action == "change" and current is None and is_open and isinstance(parent, Map):
        hint = did_you_mean(key, parent.items) or one_of(parent.items)
        raise fail(
            "unknown-key",
            f"`{dotted(path[:-1])}` has no `{key}`",
            override.key_span,
            label=hint,
            help=f"to add it, write `+{override.text}`",
        )
    if isinstance(current, Map) and isinstance(value, Map):
        value = merge(current, value)
    return replace_at(tree, path, value, override.key_span)


def _parent(tree: Tree, override: Override, known: frozenset[str]) -> Tree:
    """The container that the last key belongs to; settings groups that the file left out count as empty."""
    path = override.path
    node: Tree | None = tree
    for depth, key in enumerate(path[:-1]):
        assert node is not None
        here = find(tree, path[: depth + 1])
        if here is None:
            if depth == 0 and (key in known or override.action in ("add", "force")) and isinstance(node, Map):
                return Map({}, override.key_span)
            raise _missing(override, node, path[:depth], key)
        node = here
    assert node is not None
    if not isinstance(node, Map | Seq):
        message = f"`{dotted(path[:-1])}` is a value, it has no `{path[-1]}`"
        raise fail("unknown-key", message, override.key_span)
    return node


def _missing(override: Override, node: Tree, path: Path, key: object) -> SpecError:
    name = f"`{dotted(path)}`" if path else "the spec"
    if isinstance(node, Seq):
        span = f"its rows are 0 to {len(node.items) - 1}" if node.items else "it is empty"
        return fail("unknown-key", f"{name} has no item `{key}`", override.key_span, label=span)
    keys = list(node.items) if isinstance(node, Map) else []
    hint = did_you_mean(key, keys) or one_of(keys)
    return fail("unknown-key", f"{name} has no `{key}`", override.key_span, label=hint)


def _set_item(tree: Tree, override: Override, parent: Seq, value: Tree, current: Tree | None) -> Tree:
    path, index = override.path, override.path[-1]
    if current is None:
        appends = index == len(parent.items) and override.action in ("add", "force")
        if not appends:
            error = _missing(override, parent, path[:-1], index)
            hint = f"`+{dotted(path[:-1])}.{len(parent.items)}=…` appends"
            raise SpecError(replace(d, help=hint) for d in error.diagnostics)
        return replace_at(tree, path[:-1], replace(parent, items=(*parent.items, value)))
    if isinstance(current, Map) and isinstance(value, Map):
        value = merge(current, value)
    return replace_at(tree, path, value, override.key_span)


def _delete(tree: Tree, override: Override, parent: Tree) -> Tree:
    path, key, wanted = override.path, override.path[-1], override.values[0]
    current = find(tree, path)
    if current is None:
        raise _missing(override, parent, path[:-1], key)
    if "=" in override.text and getattr(current, "value", None) != wanted:
        raise fail(
            "override-conflict",
            f"`{dotted(path)}` is not {_literal(wanted)}, so it was not deleted",
            override.value_span,
            help=f"write `~{dotted(path)}` to delete it whatever it is",
        )
    if isinstance(parent, Seq):
        items = tuple(item for number, item in enumerate(parent.items) if number != key)
        return replace_at(tree, path[:-1], replace(parent, items=items))
    assert isinstance(parent, Map)
    return replace_at(tree, path[:-1], parent.without(str(key)))
