"""The registry of blocks: from the name in a row's `block:` key to the class that reads and lowers the row."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from typing import Any, cast

from pydantic_core import PydanticCustomError

from archc.document.diagnostics import did_you_mean, fail, one_of
from archc.document.values import reject
from archc.language.row import Row

ENTRY_POINTS = "archc.blocks"
"""The group of entry points by which an installed package offers blocks."""
ALLOW_VARIABLE = "ARCHC_ALLOW_BLOCKS"
"""The environment variable that names allowed packages, separated by commas."""

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_PATH = re.compile(rf"({_MODULE.pattern}):[^\W\d]\w*")


class BlockRegistry:
    """Names to block classes.

    There are three ways in: `register` (archc's own blocks, or a user's Python code), an entry point of the group
    `archc.blocks` of an installed package, or the path of a class, `package.module:Class`, written in the row.

    Importing a module runs its code, and a spec may come from a stranger. So a path is imported only if the user has
    allowed its package: with `allowing`, or in the environment variable `ARCHC_ALLOW_BLOCKS`. `_import` alone decides.
    """

    def __init__(self) -> None:
        self.hints: dict[str, str] = {}
        """What to write instead of names that people expect to be blocks."""
        self._blocks: dict[str, type[Row]] = {}
        self._allowed: tuple[str, ...] = ()
        self._imports = True

    def register(self, name: str, block: type[Row]) -> None:
        """Add a block. A class of the same module and name replaces its older self, as when a notebook cell runs again.

        Raises:
            ValueError: the name is taken by another class, or the class is no block.
        """
        taken = self._blocks.get(name, block)
        if (taken.__module__, taken.__qualname__) != (block.__module__, block.__qualname__):
            raise ValueError(f"block `{name}` is already registered by {taken.__module__}.{taken.__qualname__}")
        if not _can_be_block(block):
            raise ValueError(f"`{block.__module__}.{block.__qualname__}` is not a block: {_WHAT_A_BLOCK_IS}")
        self._blocks[name] = block

    def allowing(self, packages: str | Iterable[str]) -> BlockRegistry:
        """The same blocks, and those that a row names by a path into one of these packages or their submodules.

        Raises:
            ValueError: what cannot be a package's name.
        """
        names = (packages,) if isinstance(packages, str) else tuple(packages)
        for name in names:
            check_package(name)
        return self._view((*self._allowed, *names), self._imports)

    def closed(self) -> BlockRegistry:
        """The same blocks, but no path is ever imported: for specs that come inside a file of weights."""
        return self._view(self._allowed, False)

    def _view(self, allowed: tuple[str, ...], imports: bool) -> BlockRegistry:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, _allowed=allowed, _imports=imports)  # the table of names is shared
        return view

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._blocks is not REGISTRY._blocks:
            return super().__reduce__()
        return _restored, (self._allowed, self._imports)

    def classes(self) -> tuple[type[Row], ...]:
        """The classes registered so far. What is remembered of a spec's text holds for the same classes only."""
        return tuple(self._blocks.values())

    def names(self) -> list[str]:
        """Every registered name, installed packages' included."""
        return sorted({*self._blocks, *_entry_points()})

    def __iter__(self) -> Iterator[tuple[str, type[Row]]]:
        """Every name with its class.

        Raises:
            SpecError: an installed package's block cannot be imported.
        """
        for name in self.names():
            try:
                yield name, self.get(name)
            except PydanticCustomError as error:
                raise fail(error.type, error.message()) from None

    def get(self, name: object) -> type[Row]:
        """The class for a row's `block:`.

        Raises:
            PydanticCustomError: `unknown-block`, `bad-block` or `block-not-allowed`, to become a diagnostic at the
                row's key.
        """
        if not isinstance(name, str):
            reject("a row's `block` is a name", one_of(self.names()), "unknown-block")
        if name in self._blocks:
            return self._blocks[name]
        if ":" in name:
            return self._import(name)
        # Reading the installed packages' entry points costs tens of milliseconds, so it waits for an unknown name.
        if name not in _entry_points():
            hint = self.hints.get(name.lower()) or did_you_mean(name, self.names()) or one_of(self.names())
            reject(f"there is no block `{name}`", hint, "unknown-block")
        self._blocks[name] = self._load(name, _entry_points()[name])
        return self._blocks[name]

    def _import(self, path: str) -> type[Row]:
        match = _PATH.fullmatch(path)
        if match is None:
            reject(
                f"cannot import block `{path}`: that is not the path of a class",
                "write `package.module:Class`",
                "bad-block",
            )
        module = match[1]
        if not self._imports:
            reject(
                f"the spec inside a file of weights cannot import `{path}`",
                "only registered blocks are read here; name the spec's own file instead, and allow the package",
                "block-not-allowed",
            )
        if not any(module == name or module.startswith(f"{name}.") for name in (*self._allowed, *_from_environment())):
            package = module.partition(".")[0]
            reject(
                f"cannot import block `{path}`: the package `{package}` is not allowed",
                f"importing runs the module's code; if you trust it, allow the package: `--allow-blocks {package}`, "
                f'`archc.load(…, allow=["{package}"])` or {ALLOW_VARIABLE}={package}',
                "block-not-allowed",
            )
        return self._load(path, metadata.EntryPoint(path, path, ENTRY_POINTS))

    def _load(self, name: str, point: metadata.EntryPoint) -> type[Row]:
        """Import what the user has allowed or installed."""
        try:
            block: object = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever the module does, `sys.exit()` included, is a fact about the block
            reject(f"cannot import block `{name}`: {type(error).__name__}: {error}", id="bad-block")
        if not hasattr(block, "lower") or not _can_be_block(block):
            reject(f"`{point.value}` is not a block", _WHAT_A_BLOCK_IS, "bad-block")
        return cast(type[Row], block)


def _restored(allowed: tuple[str, ...], imports: bool) -> BlockRegistry:
    return REGISTRY._view(allowed, imports)


def _can_be_block(block: object) -> bool:
    sound = isinstance(block, type) and issubclass(block, Row) and block is not Row
    return sound and not getattr(getattr(block, "lower", None), "__isabstractmethod__", False)


_WHAT_A_BLOCK_IS = "a block is a subclass of `archc.Block` with a `lower`"


def check_package(name: object) -> None:
    """Check the name of a package that is to be allowed.

    Raises:
        ValueError: it cannot be one.
    """
    if not isinstance(name, str) or not _MODULE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a package; write it as in `import package.module`")


def _from_environment() -> tuple[str, ...]:
    names = [name.strip() for name in os.environ.get(ALLOW_VARIABLE, "").split(",") if name.strip()]
    for name in names:
        try:
            check_package(name)
        except ValueError as error:
            reject(f"in the environment variable {ALLOW_VARIABLE}: {error}", id="block-not-allowed")
    return tuple(names)


@cache
def _entry_points() -> Mapping[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=ENTRY_POINTS):
        found.setdefault(point.name, point)
    return found


REGISTRY = BlockRegistry()
"""The blocks that specs may name; `archc.blocks` registers archc's own."""
