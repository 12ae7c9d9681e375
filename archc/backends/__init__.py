"""Backends: what turns a graph into something that a library runs. One package each; they never import each other.

Importing this imports the names of the backends and little else: commands list them in their help.

`archc.backends.protocol` says what a backend is. To add one: a package with an object `BACKEND`, and an entry in
`BACKENDS`. Users add their own entries: `BACKENDS["mine"] = Entry("my_package.backend", "my_library")`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from archc.document.diagnostics import did_you_mean, one_of
from archc.extras import require

if TYPE_CHECKING:
    from archc.backends.protocol import Backend, Builder, Emitter


class Entry(NamedTuple):
    """Where a backend's `BACKEND` is, the Python package that it needs, and the extra that installs that."""

    module: str
    library: str
    extra: str = ""
    suffix: str = ""
    """What the names of the files that it writes end in; empty where it writes none."""


BACKENDS: dict[str, Entry] = {
    "torch": Entry("archc.backends.torch", "torch", "torch", ".pt2"),
    "keras": Entry("archc.backends.keras", "keras", "keras"),
    "onnx": Entry("archc.backends.onnx", "onnx", "onnx", ".onnx"),
    "litert": Entry("archc.backends.litert", "ai_edge_litert", "litert", ".tflite"),
    "openvino": Entry("archc.backends.openvino", "openvino", "openvino", ".xml"),
    "executorch": Entry("archc.backends.executorch", "executorch", "executorch", ".pte"),
    "coreml": Entry("archc.backends.coreml", "coremltools", "coreml", ".mlpackage"),
}
"""Every backend by name."""


def get(name: str) -> Backend:
    """The backend of this name; its library is imported.

    Raises:
        ValueError: there is none.
        ImportError: its library is not installed.
    """
    if name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS) or one_of(BACKENDS)
        raise ValueError(f"there is no backend {name!r}: {hint}")
    found: Backend = importlib.import_module(BACKENDS[name].module).BACKEND
    return found


def builder(name: str) -> Builder:
    """The backend of this name, which must be one that builds models.

    Raises:
        ValueError: there is none, or it only writes files.
        ImportError: its library is not installed.
    """
    from archc.backends.protocol import Builder

    found = get(name)
    if not isinstance(found, Builder):
        raise ValueError(f"the {name} backend writes files and builds no model")
    return found


def targets() -> tuple[str, ...]:
    """The names of the backends that write files."""
    return tuple(name for name, entry in BACKENDS.items() if entry.suffix)


def check_target(name: str) -> None:
    """Check that there is a target of this name, without importing its library.

    Raises:
        ValueError: there is none.
    """
    if name not in targets():
        raise ValueError(f"there is no target {name!r}: {did_you_mean(name, targets()) or one_of(targets())}")


def emitter(name: str) -> Emitter:
    """The backend of this name, which must be one that writes files.

    Raises:
        ValueError: there is none, or it only builds models.
        MissingExtraError: its library is not installed.
    """
    check_target(name)
    from archc.backends.protocol import Emitter

    require(BACKENDS[name].library, BACKENDS[name].extra)
    found = get(name)
    assert isinstance(found, Emitter)
    return found


def of(model: Any) -> Builder | None:
    """The backend that a model belongs to; None where it is no model of any.

    Only backends whose library its classes come from are imported, the most specific first: on Keras's torch backend, a
    Keras model is a torch module, too.
    """
    from archc.backends.protocol import Builder

    packages = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    named = [name for name, entry in BACKENDS.items() if entry.library in packages]
    for name in sorted(named, key=lambda name: packages.index(BACKENDS[name].library)):
        found = get(name)
        if isinstance(found, Builder) and found.owns(model):
            return found
    return None


def __getattr__(name: str) -> Any:
    if name in ("Backend", "Builder", "Emitter"):
        return getattr(importlib.import_module("archc.backends.protocol"), name)
    raise AttributeError(f"module 'archc.backends' has no attribute {name!r}")


__all__ = [
    "BACKENDS",
    "Backend",
    "Builder",
    "Emitter",
    "Entry",
    "builder",
    "check_target",
    "emitter",
    "get",
    "of",
    "targets",
]
