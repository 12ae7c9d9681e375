"""Module classes made from a label and a forward, which pickle, copy and debug like written ones."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn


class Recipe(NamedTuple):
    """All that a generated class is made from. `source` is its `forward`; empty for an `nn.Sequential`'s own."""

    name: str
    sequential: bool = False
    source: str = ""
    constants: tuple[tuple[str, int], ...] = ()
    """Attributes of the class that other libraries ask for, such as torchvision for `out_channels`."""


class Generated(nn.Module):
    """Base of the generated classes. No import can find them, so they are pickled as their recipes."""

    recipe: ClassVar[Recipe]

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[[Recipe], nn.Module], tuple[Recipe], Any]:
        return _empty, (self.recipe,), dict(self.__dict__)


def _empty(recipe: Recipe) -> nn.Module:
    made = module_class(recipe)
    return made.__new__(made)


@lru_cache(maxsize=4096)
def module_class(recipe: Recipe) -> type[nn.Module]:
    """The class of a recipe; equal recipes give one class, in every process."""
    name, source = recipe.name, recipe.source
    namespace: dict[str, Any] = {"recipe": recipe, "__module__": __name__, "__qualname__": name}
    namespace.update(recipe.constants)
    if source:
        filename = f"<archc {name} {hashlib.sha256(source.encode()).hexdigest()[:8]}>"
        # So that debuggers, tracebacks and `inspect` show the lines of the forward.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        scope: dict[str, Any] = {"torch": torch}
        exec(compile(source, filename, "exec"), scope)
        namespace["forward"] = scope["forward"]
    bases = (Generated, nn.Sequential) if recipe.sequential else (Generated,)
    return type(name, bases, namespace)
