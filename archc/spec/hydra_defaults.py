"""The order in which a spec's files are merged, as Hydra's defaults list decides it.

This is the one module that reaches into Hydra's internals (`hydra-core` is pinned below the next minor release for
it): its public `compose` keeps global state, refuses threads, and returns no positions.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from archc.spec import library
from archc.spec.compose import MAX_FILES, parents
from archc.spec.diagnostics import fail
from archc.spec.tree import Map, plain
from archc.spec.yaml import read_file


def merge_order(path: Path, tree: Map) -> list[tuple[Map, tuple[str, ...]]]:
    """The files' trees without their `defaults`, first to last, each with the package (key path) it goes under.

    Raises:
        SpecError: a cycle, a missing parent, or a defaults list that Hydra refuses.
    """
    files = _Files(path, tree)
    span = tree.key_span("defaults")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Hydra's advice on a missing _self_; its rule (last) is the one wanted
            ordered = create_defaults_list(files, path.stem, [], prepend_hydra=False, skip_missing=False)
    except RecursionError:
        cycle = " -> ".join(files.cycle())
        raise fail("inheritance-cycle", f"`defaults` form a cycle: {cycle}", span) from None
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError, TypeError) as error:
        if hasattr(error, "diagnostics"):
            raise
        lines = str(error).strip().splitlines()
        raise fail("bad-defaults", f"Hydra refuses these `defaults`: {lines[0] if lines else error!r}", span) from None
    result = []
    for entry in ordered.defaults:
        if entry.config_path is not None:
            package = tuple(entry.package.split(".")) if entry.package else ()
            result.append((files.trees[entry.config_path].without("defaults"), package))
    return result


class _Files(ConfigRepository):
    """Hydra's view of the spec files: beside the inheriting one, then the bundled ones."""

    def __init__(self, path: Path, tree: Map) -> None:
        self.sources = []
        self.directory = path.parent
        self.trees: dict[str, Map] = {path.stem: tree}
        self.loaded = 0

    def load_config(self, config_path: str) -> ConfigResult | None:
        self.loaded += 1
        if self.loaded > 2 * MAX_FILES:
            if cycle := self.cycle():
                raise fail("inheritance-cycle", f"`defaults` form a cycle: {' -> '.join(cycle)}")
            raise fail("too-large", f"`defaults` lead to more than {MAX_FILES} files")
        if config_path not in self.trees:
            file = library.find_parent(config_path, self.directory)
            if file is None:
                return None
            tree = read_file(file)
            assert isinstance(tree, Map)
            self.trees[config_path] = tree
        tree = self.trees[config_path]
        parents(tree, self.directory)
        defaults = tree.items.get("defaults")
        config = OmegaConf.create({"defaults": plain(defaults) if defaults else [], "content": True})
        header = ConfigSource._get_header_dict(tree.span.source.text[:512])
        result = ConfigResult("archc", config_path, config, {"package": None, **header})
        result.defaults_list = self._create_defaults_list(config_path, self._extract_defaults_list(config_path, config))
        return result

    def config_exists(self, config_path: str) -> bool:
        return config_path in self.trees or library.find_parent(config_path, self.directory) is not None

    def group_exists(self, config_path: str) -> bool:
        return any((base / config_path).is_dir() for base in (self.directory, library.bundled_directory()))

    def get_group_options(self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
        bases = (self.directory, library.bundled_directory())
        return sorted({path.stem for base in bases for path in (base / group_name).glob("*.yaml")})

    def cycle(self) -> list[str]:
        """A path from a file back to itself through plain parents, or an empty list."""
        edges = {name: parents(tree, self.directory) for name, tree in self.trees.items()}
        for start in edges:
            stack = [[start]]
            seen: set[str] = set()
            while stack:
                trail = stack.pop()
                for parent in edges.get(trail[-1], []):
                    if parent == start:
                        return [*trail, parent]
                    if parent not in seen:
                        seen.add(parent)
                        stack.append([*trail, parent])
        return []
