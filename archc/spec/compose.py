"""Inheritance: `defaults: [parent, _self_]`, in Hydra's order, with positions kept.

Hydra's own code reads the defaults lists and orders the files; the files' trees are then merged here, because
Hydra's merge forgets where every value came from.
"""

from __future__ import annotations

from pathlib import Path

from archc.spec import library
from archc.spec.diagnostics import SpecError, did_you_mean, fail, one_of
from archc.spec.tree import Map, Scalar, Seq, Tree, merge
from archc.spec.yaml import read_file

MAX_FILES = 500


def compose(path: Path, name: str | None = None) -> Map:
    """The spec at `path` with everything it inherits merged in; the result has no `defaults`.

    Raises:
        SpecError: a file that cannot be read, a parent that does not exist, or a cycle.
    """
    tree = read_file(path, name)
    assert isinstance(tree, Map)
    if "defaults" not in tree.items:
        return tree
    # Hydra costs a hundred milliseconds to import, so a spec without parents does not.
    from archc.spec.hydra_defaults import merge_order

    result: Tree | None = None
    for part, package in merge_order(path, tree):
        packaged: Tree = part
        for key in reversed(package):
            packaged = Map({key: packaged}, part.span)
        result = packaged if result is None else merge(result, packaged)
    assert isinstance(result, Map)
    return result


def parents(tree: Map, directory: Path) -> list[str]:
    """The plain parent names in a file's `defaults`, checked.

    Raises:
        SpecError: the list is malformed or names a file that does not exist.
    """
    defaults = tree.items.get("defaults")
    if defaults is None:
        return []
    if not isinstance(defaults, Seq):
        raise fail("bad-defaults", "`defaults` is a list of parents", defaults.span, help="defaults: [parent, _self_]")
    names: list[str] = []
    problems: list[SpecError] = []
    for item in defaults.items:
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
            name = item.value.partition("@")[0].removeprefix("/")
            if name == "_self_":
                continue
            names.append(name)
            if library.find_parent(name, directory) is None:
                known = sorted({*library.bundled(), *(p.stem for p in directory.glob("*.yaml"))})
                hint = did_you_mean(name, known) or one_of(known)
                problems.append(fail("unknown-parent", f"there is no spec `{name}` to inherit", item.span, label=hint))
        elif not (isinstance(item, Map) and len(item.items) == 1):
            problems.append(
                fail(
                    "bad-defaults",
                    "an entry of `defaults` is a spec's name, `_self_`, or Hydra's `group: name`",
                    item.span,
                )
            )
    if problems:
        raise SpecError(d for problem in problems for d in problem.diagnostics)
    return names
