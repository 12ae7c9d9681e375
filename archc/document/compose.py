"""Inheritance: `defaults: [parent, _self_]`, in Hydra's order, with positions kept.

Hydra's own code reads the defaults lists and orders the files; the files' trees are then merged here, because
Hydra's merge forgets where every value came from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from archc.document.lazy import IMPORTING
from archc.document.library import Library
from archc.document.tree import Map, Tree, merge
from archc.document.yaml import read_file

Settle = Callable[[Map, Map], Map]
"""Takes the tree that a file inherits and the file's own; returns the inherited tree as it is to be merged."""


def compose(path: Path, library: Library, name: str | None = None, settle: Settle | None = None) -> Map:
    """The file at `path` with everything it inherits merged in; the result has no `defaults`.

    Parents are looked for beside the file, and then in the library.

    Raises:
        SpecError: a file that cannot be read, a parent that does not exist, or a cycle.
    """
    tree = read_file(path, name)
    if "defaults" not in tree.items:
        return tree
    with IMPORTING:
        from archc.document.hydra_defaults import merge_order

    result: Tree | None = None
    for part, package in merge_order(path, tree, library):
        packaged: Tree = part
        for key in reversed(package):
            packaged = Map({key: packaged}, part.span)
        if settle is not None and isinstance(result, Map) and isinstance(packaged, Map):
            result = settle(result, packaged)
        result = packaged if result is None else merge(result, packaged)
    assert isinstance(result, Map)
    return result
