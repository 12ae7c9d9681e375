"""Module classes made from a label and a forward, which pickle, copy and debug like written ones."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import nn

Recipe = tuple[str, bool, str]
"""Class name, whether it is an `nn.Sequential`, and the source of its `forward` (empty for a sequential's own)."""


class Generated(nn.Module):
    """Base of the compiled classes. A class that no import can find is pickled as the recipe it was made from."""

    recipe: ClassVar[Recipe]

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[[Recipe], nn.Module], tuple[Recipe], Any]:
        return _empty, (self.recipe,), dict(self.__dict__)


def _empty(recipe: Recipe) -> nn.Module:
    made = module_class(recipe)
    return made.__new__(made)


@lru_cache(maxsize=4096)
def module_class(recipe: Recipe) -> type[nn.Module]:
    """The class of a recipe; equal recipes give one class, in every process."""
    name, sequential, source = recipe
    namespace: dict[str, Any] = {"recipe": recipe, "__module__": __name__, "__qualname__": name}
    if source:
        filename = f"<archc {name} {hashlib.sha256(source.encode()).hexdigest()[:8]}>"
        # So that debuggers, tracebacks and inspect show the forward's lines.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        scope: dict[str, Any] = {"torch": torch}
        exec(compile(source, filename, "exec"), scope)
        namespace["forward"] = scope["forward"]
    bases = (Generated, nn.Sequential) if sequential else (Generated,)
    return type(name, bases, namespace)
