"""Runtimes: what runs the files that archc exports, and other files of their formats.

`archc.runtimes.protocol` says what a runtime is. To add one: a module with an object `RUNTIME`, and an entry in
`RUNTIMES`. A runtime's library is imported only when one of its files is opened.
"""

from __future__ import annotations

import importlib
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

from archc.document.diagnostics import did_you_mean, one_of
from archc.extras import require
from archc.runtimes.protocol import Port, Runtime, Session


class Entry(NamedTuple):
    """Where a runtime's `RUNTIME` is, the package it needs, its extra, and the suffixes of its files."""

    module: str
    library: str
    extra: str
    suffixes: tuple[str, ...]


RUNTIMES: dict[str, Entry] = {
    "onnxruntime": Entry("archc.runtimes.onnxruntime", "onnxruntime", "onnx", (".onnx",)),
    "openvino": Entry("archc.runtimes.openvino", "openvino", "openvino", (".xml", ".onnx")),
    "openvino-bf16": Entry("archc.runtimes.openvino_bf16", "openvino", "openvino", ()),
    "litert": Entry("archc.runtimes.litert", "ai_edge_litert", "litert", (".tflite",)),
    "executorch": Entry("archc.runtimes.executorch", "executorch", "executorch", (".pte",)),
    "torch": Entry("archc.runtimes.exported", "torch", "torch", (".pt2",)),
    "coreml": Entry("archc.runtimes.coreml", "coremltools", "coreml", (".mlpackage",)),
}
"""Every runtime by name. Of several for one suffix, the first is the default."""

SUFFIXES = frozenset(suffix for entry in RUNTIMES.values() for suffix in entry.suffixes)
"""The suffixes of files that a runtime opens."""


def runtime_of(path: str | PathLike[str]) -> str | None:
    """The name of the runtime that opens a file by default; None where none does."""
    suffix = Path(fspath(path)).suffix
    return next((name for name, entry in RUNTIMES.items() if suffix in entry.suffixes), None)


def get(name: str) -> Runtime:
    """The runtime of this name.

    Raises:
        ValueError: there is none.
        MissingExtraError: its library is not installed.
    """
    if name not in RUNTIMES:
        raise ValueError(f"there is no runtime {name!r}: {did_you_mean(name, RUNTIMES) or one_of(RUNTIMES)}")
    entry = RUNTIMES[name]
    require(entry.library, entry.extra)
    found: Runtime = importlib.import_module(entry.module).RUNTIME
    return found


def open_file(path: str | PathLike[str], runtime: str | None = None, *, threads: int | None = None) -> Session:
    """Open an exported file.

    Args:
        path: a file that archc exported, or another of the runtime's format.
        runtime: its name; by default the one for the file's suffix.
        threads: how many threads may compute; None leaves that to the library.

    Raises:
        ValueError: no runtime opens such files, or the file is damaged.
        MissingExtraError: the runtime's library is not installed.
        OSError: the file cannot be read.
    """
    file = Path(fspath(path))
    name = runtime or runtime_of(file)
    if name is None:
        raise ValueError(f"no runtime opens `{file}`: its suffix is none of {one_of(sorted(SUFFIXES))}")
    if not file.exists():
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return get(name).open(file, threads=threads)


__all__ = ["RUNTIMES", "SUFFIXES", "Entry", "Port", "Runtime", "Session", "get", "open_file", "runtime_of"]
