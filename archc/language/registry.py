"""The closed registry of blocks: a name in a row's `block:` key to the class that reads and lowers the row."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib import metadata
from typing import cast

from archc.document.diagnostics import did_you_mean, one_of
from archc.document.values import reject
from archc.language.row import Row

ENTRY_POINTS = "archc.blocks"


class BlockRegistry:
    """Names to block classes.

    Three ways in: `register` (archc's own blocks, or a user's Python code), an entry point of the group
    `archc.blocks` of an installed package, or the class's own path `package.module:Class` written in the row.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, type[Row]] = {}
        self._discovered = False

    def register(self, name: str, block: type[Row]) -> None:
        """Add a block.

        Raises:
            ValueError: the name is taken by another class.
        """
        if self._blocks.setdefault(name, block) is not block:
            raise ValueError(f"block `{name}` is already registered by {self._blocks[name].__module__}")

    def names(self) -> list[str]:
        """Every registered name, installed packages' included."""
        self._discover()
        return sorted(self._blocks)

    def __iter__(self) -> Iterator[tuple[str, type[Row]]]:
        return iter([(name, self._blocks[name]) for name in self.names()])

    def get(self, name: object) -> type[Row]:
        """The class for a row's `block:`.

        Raises:
            PydanticCustomError: `unknown-block` or `bad-block`, to become a diagnostic at the row's key.
        """
        if not isinstance(name, str):
            reject("a row's `block` is a name", one_of(self.names()), "unknown-block")
        if name in self._blocks:
            return self._blocks[name]
        if ":" in name:
            return self._import(name)
        self._discover()
        if name not in self._blocks:
            hint = did_you_mean(name, self._blocks) or one_of(sorted(self._blocks))
            reject(f"there is no block `{name}`", hint, "unknown-block")
        return self._blocks[name]

    def _import(self, path: str) -> type[Row]:
        module, _, attribute = path.partition(":")
        try:
            block = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            reject(f"cannot import block `{path}`: {type(error).__name__}: {error}", id="bad-block")
        return self._checked(path, block)

    def _discover(self) -> None:
        # Reading the installed packages' entry points costs tens of milliseconds, so it waits for an unknown name.
        if self._discovered:
            return
        self._discovered = True
        for point in metadata.entry_points(group=ENTRY_POINTS):
            if point.name not in self._blocks:
                try:
                    self._blocks[point.name] = self._checked(point.value, point.load())
                except ImportError as error:
                    reject(f"cannot import block `{point.name}` ({point.value}): {error}", id="bad-block")

    def _checked(self, path: str, block: object) -> type[Row]:
        sound = isinstance(block, type) and issubclass(block, Row) and hasattr(block, "lower")
        if not sound or getattr(getattr(block, "lower", None), "__isabstractmethod__", False):
            reject(f"`{path}` is not a block", "a block is a subclass of `archc.Block` with a `lower`", "bad-block")
        return cast(type[Row], block)


REGISTRY = BlockRegistry()
"""The blocks that specs may name; `archc.blocks` registers archc's own."""
