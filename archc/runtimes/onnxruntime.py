"""ONNX Runtime: `.onnx` files, by its kernels for the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archc.extras import require
from archc.ir.state import Array
from archc.runtimes.protocol import Port, Runtime, Session, cannot_take, check_images, first_line

_DTYPES = {
    "float": "float32",
    "double": "float64",
    **{name: name for name in ("float16", "uint8", "int8", "int32", "int64", "bool")},
}
"""NumPy's name for a type, by ONNX's."""

_QUIET = 4
"""Only what is fatal is logged: errors are raised, too."""

_EXACT_INTEGERS = "session.x64quantprecision"
"""Sums of integers never overflow. On x86 processors without VNNI, the faster default adds pairs of products in 16 bits
and cuts them off, which changes results."""


class OnnxSession(Session):
    """An opened `.onnx` file. `inference` is ONNX Runtime's session."""

    def __init__(self, inference: Any) -> None:
        self.inference = inference
        inputs = inference.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs; a network for images has one")
        (source,) = inputs
        shape = tuple(size if isinstance(size, int) else None for size in source.shape)
        self.input = Port(source.name, shape, _dtype(source.type))
        self.outputs = tuple(output.name for output in inference.get_outputs())
        self.metadata: Mapping[str, str] = dict(inference.get_modelmeta().custom_metadata_map)

    def prepare(self, images: Array) -> dict[str, Array]:
        """See `Session.prepare`."""
        check_images(self.input, images)
        return {self.input.name: np.ascontiguousarray(images)}

    def execute(self, prepared: dict[str, Array]) -> list[Array]:
        """See `Session.execute`."""
        try:
            found: list[Array] = self.inference.run(None, prepared)
        except Exception as error:  # the library's errors have no common base
            raise cannot_take(prepared[self.input.name].shape, first_line(error)) from None
        return found

    def results(self, raw: list[Array]) -> dict[str, Array]:
        """See `Session.results`."""
        return {name: _as_float32(value) for name, value in zip(self.outputs, raw, strict=True)}


class OnnxRuntime(Runtime):
    """`onnxruntime`."""

    name = "onnxruntime"

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`."""
        library = require("onnxruntime", "onnx")
        with path.open("rb"):
            pass  # the library's own errors do not say why a file cannot be read
        options = library.SessionOptions()
        options.log_severity_level = _QUIET
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        options.inter_op_num_threads = 1
        options.add_session_config_entry(_EXACT_INTEGERS, "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        return self.session(path, options)

    def session(self, path: Path, options: Any) -> OnnxSession:
        """Open a file with options of the caller's.

        Raises:
            ValueError: as `open`.
        """
        library = require("onnxruntime", "onnx")
        try:
            return OnnxSession(library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # the library's errors have no common base
            if isinstance(error, MemoryError):
                raise
            raise ValueError(f"`{path}` is damaged, or no file that ONNX Runtime runs: {first_line(error)}") from None


def _dtype(name: str) -> str:
    """NumPy's name for ONNX Runtime's, such as `tensor(float)`."""
    inner = name.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(inner, inner)


def _as_float32(value: Any) -> Array:
    array: Array = np.asarray(value)
    return array.astype(np.float32, copy=False) if np.issubdtype(array.dtype, np.floating) else array


RUNTIME = OnnxRuntime()
