"""Overrides applied to a tree with positions.

Hydra's own way to apply them cannot delete or append list items, and answers a wrong index with a Python traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from archc.document.diagnostics import Diagnostic, SpecError, did_you_mean, fail, one_of
from archc.document.kind import Kind
from archc.document.overrides import Override, literal
from archc.document.tree import Map, Path, Seq, Tree, dotted, find, from_plain, merge, replace_at


def apply(tree: Map, overrides: Sequence[Override], kind: Kind[Any]) -> Map:
    """The tree with every override applied, in order.

    Raises:
        SpecError: listing every override that does not fit the tree.
    """
    problems: list[Diagnostic] = []
    result: Tree = tree
    for override in overrides:
        try:
            result = _apply(result, override, kind)
        except SpecError as error:
            problems.extend(error.diagnostics)
    if problems:
        raise SpecError(problems)
    assert isinstance(result, Map)
    return result


def _apply(tree: Tree, override: Override, kind: Kind[Any]) -> Tree:
    if override.swept:
        raise fail(
            "override-syntax",
            f"`{override.text}` is a sweep, which gives many {kind.noun}s; here one is needed",
            override.value_span,
            help="`archc report` takes sweeps; for a list, write [a,b]",
        )
    path = override.path
    if path[0] == "defaults":
        raise fail(
            "unknown-key",
            f"`defaults` cannot be overridden: what {kind.a} inherits is read before overrides",
            override.part_span(0),
            help="write a file that inherits it: `defaults: [parent, _self_]`",
        )
    parent = _parent(tree, override, kind)
    if override.action == "delete":
        return _delete(tree, override, parent, kind)
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
        return _set_item(tree, override, parent, value, kind)
    is_open = tuple(path[:-1]) in kind.open
    if override.action == "change" and current is None and is_open and isinstance(parent, Map):
        raise fail(
            "unknown-key",
            f"`{dotted(path[:-1])}` has no `{key}`",
            override.key_span,
            label=did_you_mean(key, parent.items),
            notes=[f"it has {one_of(parent.items).removeprefix('one of: ')}"] if parent.items else [],
            help=f"to add it, write `+{override.text}`" if override.source.kind == "override" else "",
        )
    if isinstance(current, Map) and isinstance(value, Map):
        value = merge(current, value)
    depth = next((d for d in range(1, len(path)) if find(tree, path[:d]) is None), len(path))
    for missing in range(len(path) - 1, depth - 1, -1):
        value = Map({str(path[missing]): value}, value.span, {str(path[missing]): override.part_span(missing)})
    return replace_at(tree, path[:depth], value, override.part_span(depth - 1))


def _parent(tree: Tree, override: Override, kind: Kind[Any]) -> Tree:
    """The container of an override's last key. A settings group that the file leaves out counts as empty."""
    path = override.path
    node = tree
    for depth in range(len(path) - 1):
        here = find(node, (path[depth],))
        if here is None:
            if (
                isinstance(node, Map)
                and override.action != "delete"
                and _may_be_made(path[: depth + 1], override, kind)
            ):
                return Map({}, override.key_span)
            raise _missing(override, node, depth, kind)
        if not isinstance(here, Map | Seq):
            inside = f"{path[depth + 1]}" if depth + 2 == len(path) else "…"
            raise fail(
                "unknown-key",
                f"`{dotted(path[: depth + 1])}` is a single value, it has no `{path[depth + 1]}`",
                override.part_span(depth + 1),
                help=f"to make it a mapping, write `{dotted(path[: depth + 1])}={{{inside}: …}}`"
                if path[: depth + 1] in kind.groups
                else "",
            )
        node = here
    return node


def _may_be_made(path: Path, override: Override, kind: Kind[Any]) -> bool:
    """Whether an override may create a mapping at this path."""
    return path in kind.groups or kind.makes(path, override.action in ("add", "force"))


def _missing(override: Override, node: Tree, depth: int, kind: Kind[Any]) -> SpecError:
    """The error for a key whose part at this depth is not in `node`."""
    path, key, span = override.path[:depth], override.path[depth], override.part_span(depth)
    name = f"`{dotted(path)}`" if path else f"the {kind.noun}"
    if isinstance(node, Seq):
        known = f"its items are 0 to {len(node.items) - 1}" if node.items else "it is empty"
        return fail("unknown-key", f"{name} has no item `{key}`", span, label=known)
    keys = list(node.items) if isinstance(node, Map) else []
    if not path and override.action != "delete":
        keys = list(kind.keys)
    hint = did_you_mean(key, keys)
    return fail("unknown-key", f"{name} has no `{key}`", span, label=hint, help="" if hint else one_of(keys))


def _set_item(tree: Tree, override: Override, parent: Seq, value: Tree, kind: Kind[Any]) -> Tree:
    path, index = override.path, override.path[-1]
    current = find(tree, path)
    if current is None:
        appends = index == len(parent.items) and override.action in ("add", "force")
        if not appends:
            error = _missing(override, parent, len(path) - 1, kind)
            hint = f"`+{dotted(path[:-1])}.{len(parent.items)}=…` appends"
            raise SpecError(replace(d, help=hint) for d in error.diagnostics)
        return replace_at(tree, path[:-1], replace(parent, items=(*parent.items, value)))
    if isinstance(current, Map) and isinstance(value, Map):
        value = merge(current, value)
    return replace_at(tree, path, value, override.key_span)


def _delete(tree: Tree, override: Override, parent: Tree, kind: Kind[Any]) -> Tree:
    path, key, wanted = override.path, override.path[-1], override.values[0]
    current = find(tree, path)
    if current is None:
        raise _missing(override, parent, len(path) - 1, kind)
    if "=" in override.text and getattr(current, "value", None) != wanted:
        raise fail(
            "override-conflict",
            f"`{dotted(path)}` is not {literal(wanted)}, so it was not deleted",
            override.value_span,
            help=f"write `~{dotted(path)}` to delete it whatever it is",
        )
    if isinstance(parent, Seq):
        items = tuple(item for number, item in enumerate(parent.items) if number != key)
        return replace_at(tree, path[:-1], replace(parent, items=items))
    assert isinstance(parent, Map)
    return replace_at(tree, path[:-1], parent.without(str(key)))
