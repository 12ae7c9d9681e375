"""`${name}`: values that refer to other values, resolved by OmegaConf; the plain case is resolved without it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from archc.spec.diagnostics import Diagnostic, SpecError, did_you_mean, fail
from archc.spec.tree import Map, Path, Scalar, Seq, Tree, find, from_plain, plain, replace_at

MAX_EXPANSION = 1_000

_WHOLE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_REFERENCE = re.compile(r"\$\{\s*([A-Za-z_]\w*(?:\.\w+)*)\s*\}")
_NESTED = re.compile(r"\$\{[^:{}]*\$\{")
_DYNAMIC = re.compile(r"\$\{\s*oc\.(?!env\b|decode\b)")


def leaves(tree: Tree, path: Path = ()) -> list[tuple[Path, Scalar]]:
    """Every value that holds an interpolation."""
    if isinstance(tree, Scalar):
        return [(path, tree)] if isinstance(tree.value, str) and "${" in tree.value else []
    found: list[tuple[Path, Scalar]] = []
    children = tree.items.items() if isinstance(tree, Map) else enumerate(tree.items if isinstance(tree, Seq) else ())
    for key, node in children:
        found += leaves(node, (*path, key))
    return found


def resolve(tree: Map, pending: Sequence[tuple[Path, Scalar]], defaults: Mapping[str, object]) -> Map:
    """The tree with its interpolations (`pending`, its `leaves`) replaced by their values.

    `defaults` stand in for top-level keys that are not given.

    Raises:
        SpecError: listing every interpolation that names nothing, or itself, or that expands without bound.
    """
    resolved: Tree = tree
    problems: list[Diagnostic] = []
    config: Any = None
    for path, leaf in pending:
        try:
            value = _plain_reference(tree, leaf, defaults)
            if value is None:
                _refuse_unbounded(tree, leaf, path)
                config = config if config is not None else _config(tree, defaults)
                value = _by_omegaconf(config, path, leaf)
            resolved = replace_at(resolved, path, value)
        except SpecError as error:
            problems.extend(error.diagnostics)
    if problems:
        raise SpecError(problems)
    assert isinstance(resolved, Map)
    return resolved


def _plain_reference(tree: Map, leaf: Scalar, defaults: Mapping[str, object]) -> Tree | None:
    """The value of a lone `${a.b}` that names a final value, or None."""
    match = _WHOLE.fullmatch(str(leaf.value))
    if match is None:
        return None
    path: Path = tuple(int(part) if part.isdecimal() else part for part in match[1].split("."))
    target = find(tree, path)
    if target is None and len(path) == 1 and path[0] in defaults:
        return from_plain(defaults[str(path[0])], leaf.span)
    if isinstance(target, Scalar) and not (isinstance(target.value, str) and "${" in target.value):
        return Scalar(target.value, leaf.span)
    return None


def _refuse_unbounded(tree: Map, leaf: Scalar, path: Path) -> None:
    text = str(leaf.value)
    if _NESTED.search(text) or _DYNAMIC.search(text):
        raise fail("interpolation", f"`{text}` computes what it refers to; a spec's references are fixed", leaf.span)
    if _size(tree, leaf, {}, 0) > MAX_EXPANSION:
        raise fail("interpolation", f"`{text[:60]}` expands to more than {MAX_EXPANSION:,} values", leaf.span)


def _size(tree: Map, node: Tree | None, known: dict[int, int], depth: int) -> int:
    """How many values an interpolation expands to; a cycle counts as one, OmegaConf reports it."""
    if node is None or depth > 50:
        return 1
    if id(node) not in known:
        known[id(node)] = 1
        total = 1
        for _, leaf in leaves(node):
            for name in _REFERENCE.findall(str(leaf.value)):
                path: Path = tuple(int(part) if part.isdecimal() else part for part in name.split("."))
                total += _size(tree, find(tree, path), known, depth + 1)
        known[id(node)] = total
    return known[id(node)]


def _config(tree: Map, defaults: Mapping[str, object]) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.create({**defaults, **{k: plain(v) for k, v in tree.items.items()}})


def _by_omegaconf(config: Any, path: Path, leaf: Scalar) -> Tree:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    value = config
    try:
        for key in path:
            value = value[key]
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
    except (OmegaConfBaseException, RecursionError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[:1]
        name = re.search(r"Interpolation key '([^']+)' not found", str(error))
        hint = did_you_mean(name[1], config) if name else ""
        message = f"cannot resolve `{str(leaf.value)[:80]}`: {reason[0] if reason else type(error).__name__}"
        raise fail("interpolation", message, leaf.span, label=hint) from None
    return from_plain(value, leaf.span)
