"""The order in which the files of a document are merged, as Hydra's defaults list decides it.

This is the one module that reaches into Hydra's internals (`hydra-core` is pinned below the next minor release for
it): its public `compose` keeps global state, refuses threads, and returns no positions.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from archc.document.diagnostics import Diagnostic, Span, SpecError, did_you_mean, fail, one_of
from archc.document.library import Library
from archc.document.tree import Map, Scalar, Seq, Tree, plain
from archc.document.yaml import read_file

MAX_FILES = 500
_ADVICE = "an entry is a name, `_self_`, or Hydra's `group: name`"


def merge_order(path: Path, tree: Map, library: Library) -> list[tuple[Map, tuple[str, ...]]]:
    """The files' trees without their `defaults`, first to last, each with the package (key path) it goes under.

    Raises:
        SpecError: a cycle, a missing parent, or a defaults list that Hydra refuses.
    """
    files = _Files(path, tree, library)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Hydra's advice on a missing _self_; its rule (last) is the one wanted
            ordered = create_defaults_list(files, path.stem, [], prepend_hydra=False, skip_missing=False)
    except RecursionError:
        raise files.endless() from None
    except MissingConfigException as error:
        raise files.missing(str(error.missing_cfg_file or "")) from None
    except SpecError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError, TypeError, KeyError) as error:
        raise files.refused(error) from None
    result = []
    for entry in ordered.defaults:
        if entry.config_path is not None:
            package = tuple(entry.package.split(".")) if entry.package else ()
            result.append((files.trees[entry.config_path].without("defaults"), package))
    return result


class _Files(ConfigRepository):
    """Hydra's view of the files: those beside the inheriting one, then the bundled ones."""

    def __init__(self, path: Path, tree: Map, library: Library) -> None:
        self.sources = []
        self.library = library
        self.directory = path.parent
        self.primary = path.stem
        self.trees: dict[str, Map] = {}
        self.loaded = 0
        self._remember(path.stem, tree)

    def _remember(self, config_path: str, tree: Map) -> Map:
        _check(tree)
        self.trees[config_path] = tree
        return tree

    def load_config(self, config_path: str) -> ConfigResult | None:
        self.loaded += 1
        if self.loaded > 2 * MAX_FILES:
            raise self.endless()
        tree = self.trees.get(config_path)
        if tree is None:
            file = self.library.find_parent(config_path, self.directory)
            if file is None:
                return None
            tree = self._remember(config_path, read_file(file, self.library.shown(file)))
        defaults = tree.items.get("defaults")
        config = OmegaConf.create({"defaults": plain(defaults) if defaults else [], "content": True})
        header = ConfigSource._get_header_dict(tree.span.source.text[:512])
        result = ConfigResult("archc", config_path, config, {"package": None, **header})
        result.defaults_list = self._create_defaults_list(config_path, self._extract_defaults_list(config_path, config))
        return result

    def config_exists(self, config_path: str) -> bool:
        return config_path in self.trees or self.library.find_parent(config_path, self.directory) is not None

    def group_exists(self, config_path: str) -> bool:
        return any((base / config_path).is_dir() for base in (self.directory, self.library.directory))

    def get_group_options(self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
        bases = (self.directory, self.library.directory)
        return sorted({path.stem for base in bases for path in (base / group_name).glob("*.yaml")})

    def _entries(self) -> Iterator[tuple[str, str, Span]]:
        """Every parent that a file names: the file, the parent, and where."""
        for name, tree in self.trees.items():
            group = name.rpartition("/")[0]
            for item, key, span in _names(tree):
                parent = item.removeprefix("/") if item.startswith("/") or not group else f"{group}/{item}"
                yield name, f"{key}/{parent}" if key and not group else parent, span

    def missing(self, parent: str) -> SpecError:
        """The error for a parent that does not exist, at the entry that names it."""
        entries = list(self._entries())
        span = next((span for _, name, span in entries if name == parent), None)
        span = span or next((span for _, name, span in entries if name.endswith(parent.rpartition("/")[2])), None)
        group = parent.rpartition("/")[0]
        beside = self.get_group_options(group)
        known = sorted({*beside, *(() if group else self.library.names())} - {self.primary})
        hint = did_you_mean(parent.rpartition("/")[2], known)
        help = "" if hint else one_of(known)
        return fail(
            "unknown-parent", f"there is no {self.library.noun} `{parent}` to inherit", span, label=hint, help=help
        )

    def endless(self) -> SpecError:
        """The error for inheritance that goes in a circle, or that has too many files."""
        edges: dict[str, list[tuple[str, Span]]] = {}
        for name, parent, span in self._entries():
            edges.setdefault(name, []).append((parent, span))
        for start, parents in edges.items():
            for parent, span in parents:
                trail = _route(edges, parent, start)
                if trail:
                    cycle = " -> ".join([start, *trail])
                    help = ""
                    if parent == start and parent in self.library.names():
                        bundled = f"the bundled {self.library.noun} of the same name"
                        help = f"a file finds itself before {bundled}; rename the file"
                    return fail("inheritance-cycle", f"`defaults` form a circle: {cycle}", span, help=help)
        tree = self.trees[self.primary]
        return fail("too-large", f"`defaults` lead to more than {MAX_FILES} files", tree.key_span("defaults"))

    def refused(self, error: Exception) -> SpecError:
        """The error for a defaults list that Hydra does not take."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        span = self.trees[self.primary].key_span("defaults")
        if twice := re.match(r"Multiple values for (\S+)\. |(\S+) appears more than once", reason):
            group = (twice[1] or twice[2]).partition("@")[0]
            spans = [span for _, parent, span in self._entries() if parent.startswith(f"{group}/")]
            return fail("bad-defaults", f"`{group}` is chosen twice", spans[-1] if spans else span)
        return fail("bad-defaults", f"these `defaults` cannot be read: {reason}", span, help=_ADVICE)


def _route(edges: dict[str, list[tuple[str, Span]]], start: str, goal: str) -> list[str]:
    """A path from one file to another through parents; empty if there is none."""
    stack, seen = [[start]], {start}
    while stack:
        trail = stack.pop()
        if trail[-1] == goal:
            return trail
        for parent, _ in edges.get(trail[-1], []):
            if parent not in seen or parent == goal:
                seen.add(parent)
                stack.append([*trail, parent])
    return []


def _names(tree: Map) -> Iterator[tuple[str, str, Span]]:
    """The names in a file's `defaults`: each without its package, its group's key where it has one, and where."""
    defaults = tree.items.get("defaults")
    for item in defaults.items if isinstance(defaults, Seq) else ():
        if isinstance(item, Map):
            for key, value in item.items.items():
                group = key.partition("@")[0].split()[-1].removeprefix("/")
                yield from ((name, group, span) for name, span in _texts(value))
        else:
            yield from ((name, "", span) for name, span in _texts(item) if name != "_self_")


def _texts(node: Tree) -> Iterator[tuple[str, Span]]:
    for item in node.items if isinstance(node, Seq) else (node,):
        if isinstance(item, Scalar) and isinstance(item.value, str):
            yield item.value.partition("@")[0], item.span


def _check(tree: Map) -> None:
    """Refuse entries that Hydra would refuse too: its errors have no position.

    Raises:
        SpecError: listing every bad entry.
    """
    defaults = tree.items.get("defaults")
    if defaults is None:
        return
    if not isinstance(defaults, Seq):
        given = defaults.value if isinstance(defaults, Scalar) and isinstance(defaults.value, str) else "parent"
        help = f"defaults: [{given}, _self_]"
        raise fail("bad-defaults", "`defaults` must be a list of what to inherit", defaults.span, help=help)
    problems = []
    for item in defaults.items:
        named = isinstance(item, Scalar) and isinstance(item.value, str) and item.value.strip("/@ ")
        grouped = isinstance(item, Map) and len(item.items) == 1 and all(key.strip("/@ ") for key in item.items)
        if not named and not grouped:
            problems.append(
                Diagnostic("bad-defaults", "this entry of `defaults` names nothing", item.span, help=_ADVICE)
            )
        elif "${" in str(plain(item)):
            message = "`defaults` cannot refer to other values: they are read first"
            problems.append(Diagnostic("bad-defaults", message, item.span))
    if problems:
        raise SpecError(problems)
