"""The names under which Keras writes our own classes into files. The one place where a class bears another's name.

Two of our classes only add to what Keras's own do: a network also states its spec, and batch normalisation gathers
torch's variance. A file that names Keras's classes instead opens without archc. Keras has no setting for that: it
writes a class's `__module__` and `__name__`, or a registered name, which only a program that imports archc knows. Nor
can a plain `keras.Model` state a spec: it saves nothing but its layers. So the classes bear the public names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def saved_as(name: str) -> Callable[[_Class], _Class]:
    """Let files name the class `name`, a public class of Keras's that it extends: `keras.layers.BatchNormalization`."""
    module, _, last = name.rpartition(".")

    def rename(kind: _Class) -> _Class:
        kind.__module__ = module
        kind.__name__ = kind.__qualname__ = last
        return kind

    return rename
