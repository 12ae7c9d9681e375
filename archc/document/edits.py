"""Overrides applied to a tree with positions.

Hydra's own way to apply them cannot delete or append list items, and answers a wrong index with a Python traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from archc.document.diagnostics import Diagnostic, SpecError, did_you_mean, fail, one_of
from archc.document.overrides import Override, literal
from archc.document.tree import Map, Path, Seq, Tree, dotted, find, from_plain, merge, replace_at
from archc.language.schema import Spec

OPEN_MAPPINGS = {("stages",), ("vars",), ("outputs",)}
"""Mappings whose keys are the author's own, so that a new key must be asked for with `+`."""


def apply(tree: Map, overrides: Sequence[Override]) -> Map:
    """The tree with every override applied, in order.

    Raises:
        SpecError: listing every override that does not fit the tree.
    """
    problems: list[Diagnostic] = []
    result: Tree = tree
    for override in overrides:
        try:
            result = _apply(result, override)
        except SpecError as error:
            problems.extend(error.diagnostics)
    if problems:
        raise SpecError(problems)
    assert isinstance(result, Map)
    return result


def _apply(tree: Tree, override: Override) -> Tree:
    if override.swept:
        raise fail(
            "override-syntax",
            f"`{override.text}` is a sweep, which gives many specs; here one is needed",
            override.value_span,
            help="`archc report` takes sweeps; for a list, write [a,b]",
        )
    path = override.path
    if path[0] == "defaults":
        raise fail(
            "unknown-key",
            "`defaults` cannot be overridden: what a spec inherits is read before overrides",
            override.part_span(0),
            help="write a file that inherits it: `defaults: [parent, _self_]`",
        )
    parent = _parent(tree, override)
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


def _parent(tree: Tree, override: Override) -> Tree:
    """The container that the last key belongs to; settings groups that the file left out count as empty."""
    path = override.path
    node = tree
    for depth in range(len(path) - 1):
        here = find(node, (path[depth],))
        if here is None:
            if isinstance(node, Map) and override.action != "delete" and _may_be_made(path[: depth + 1], override):
                return Map({}, override.key_span)
            raise _missing(override, node, depth)
        if not isinstance(here, Map | Seq):
            inside = f"{path[depth + 1]}" if depth + 2 == len(path) else "…"
            raise fail(
                "unknown-key",
                f"`{dotted(path[: depth + 1])}` is a single value, it has no `{path[depth + 1]}`",
                override.part_span(depth + 1),
                help=f"to make it a mapping, write `{dotted(path[: depth + 1])}={{{inside}: …}}`"
                if path[: depth + 1] in settings_groups()
                else "",
            )
        node = here
    return node


def _may_be_made(path: Path, override: Override) -> bool:
    """Whether a mapping that is not there may come into being: a settings group, one of a row, one of the author's."""
    if path in settings_groups():
        return True
    return (path[0] == "stages" and len(path) > 3) or (path[0] == "vars" and override.action in ("add", "force"))


@cache
def settings_groups() -> frozenset[Path]:
    """The keys whose values are mappings that a spec may leave out: `norm`, `squeeze.rounding`, `table.defaults`, …"""

    def groups(model: type[BaseModel], path: Path) -> Iterator[Path]:
        for name, info in model.model_fields.items():
            here = (*path, info.alias or name)
            for kind in _kinds(info.annotation):
                if issubclass(kind, BaseModel):
                    yield here
                    yield from groups(kind, here)
                elif issubclass(kind, dict):
                    yield here

    return frozenset(path for path in groups(Spec, ()) if path[0] != "stages")


def _kinds(annotation: Any) -> Iterator[type]:
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin is not tuple:
        yield origin
    if not (isinstance(origin, type) and issubclass(origin, dict | tuple)):
        for part in get_args(annotation):
            yield from _kinds(part)


def _missing(override: Override, node: Tree, depth: int) -> SpecError:
    """What the override's key names at this depth is not in `node`."""
    path, key, span = override.path[:depth], override.path[depth], override.part_span(depth)
    name = f"`{dotted(path)}`" if path else "the spec"
    if isinstance(node, Seq):
        known = f"its items are 0 to {len(node.items) - 1}" if node.items else "it is empty"
        return fail("unknown-key", f"{name} has no item `{key}`", span, label=known)
    keys = list(node.items) if isinstance(node, Map) else []
    if not path and override.action != "delete":
        keys = [info.alias or field for field, info in Spec.model_fields.items()]
    hint = did_you_mean(key, keys)
    return fail("unknown-key", f"{name} has no `{key}`", span, label=hint, help="" if hint else one_of(keys))


def _set_item(tree: Tree, override: Override, parent: Seq, value: Tree, current: Tree | None) -> Tree:
    path, index = override.path, override.path[-1]
    if current is None:
        appends = index == len(parent.items) and override.action in ("add", "force")
        if not appends:
            error = _missing(override, parent, len(path) - 1)
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
        raise _missing(override, parent, len(path) - 1)
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
