"""LiteRT: `.tflite` files, by `ai_edge_litert`'s interpreter with its XNNPACK kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import Any

import numpy as np

from archc.extras import require
from archc.ir.state import Array
from archc.runtimes.protocol import Port, Runtime, Session, cannot_take, check_images, first_line

_IDENTIFIER = b"TFL3"


class LiteRTSession(Session):
    """An opened `.tflite` file. Images inside are channels last."""

    def __init__(self, content: bytes, interpreter: Any) -> None:
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs; a network for images has one")
        self._input, self._shape = inputs[0]["index"], tuple(inputs[0]["shape"].tolist())
        self._ready = False
        names, source = _signature(interpreter)
        self._outputs = {names.get(item["index"], item["name"]): item["index"] for item in outputs}
        signature = [None if size < 0 else size for size in inputs[0]["shape_signature"].tolist()]
        name = source if source is not None else inputs[0]["name"]
        self._last = len(signature) == 4
        shape = (signature[0], signature[3], signature[1], signature[2]) if self._last else tuple(signature)
        self.input = Port(name, shape, np.dtype(inputs[0]["dtype"]).name)
        self.outputs = tuple(self._outputs)
        self.metadata = _metadata(content)

    def prepare(self, images: Array) -> Array:
        """See `Session.prepare`. The interpreter is made ready for another shape only when it comes."""
        check_images(self.input, images)
        made = np.ascontiguousarray(images.transpose(0, 2, 3, 1) if self._last else images)
        if not self._ready or made.shape != self._shape:
            self._allocate(made.shape)
        return made

    def _allocate(self, shape: tuple[int, ...]) -> None:
        self._ready = False
        try:
            if shape != self._shape:
                self._shape = shape
                self._interpreter.resize_tensor_input(self._input, shape)
            with _no_notices():
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            self._shape = ()
            images = (shape[0], shape[3], *shape[1:3]) if self._last else shape
            raise cannot_take(images, first_line(error)) from None
        self._ready = True

    def execute(self, prepared: Array) -> None:
        """Run the network. LiteRT keeps the results until the next run."""
        self._interpreter.set_tensor(self._input, prepared)
        self._interpreter.invoke()

    def results(self, raw: None) -> dict[str, Array]:
        """See `Session.results`."""
        return {name: self._result(index) for name, index in self._outputs.items()}

    def _result(self, index: int) -> Array:
        value: Array = self._interpreter.get_tensor(index)
        if np.issubdtype(value.dtype, np.floating):
            value = value.astype(np.float32, copy=False)
        return np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if value.ndim == 4 else value


class LiteRT(Runtime):
    """`ai_edge_litert`."""

    name = "litert"

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`."""
        library = require("ai_edge_litert.interpreter", "litert")
        content = path.read_bytes()
        if content[4:8] != _IDENTIFIER:
            raise ValueError(f"`{path}` is no `.tflite` file")
        try:
            interpreter = library.Interpreter(model_content=content, num_threads=threads)
            return LiteRTSession(content, interpreter)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"`{path}` is damaged, or no file that LiteRT runs: {first_line(error)}") from None


_noticed = Event()
"""Whether this process has prepared a file before: LiteRT tells only once which kernels it uses."""


@contextmanager
def _no_notices() -> Iterator[None]:
    """Keep the library's `INFO:` line off standard error. Its C++ writes it, and has no setting for it.

    What else is written in the meantime comes afterwards.
    """
    if _noticed.is_set():
        yield
        return
    _noticed.set()
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept:
                if not line.startswith(b"INFO: "):
                    os.write(2, line)


def _signature(interpreter: Any) -> tuple[Mapping[int, str], str | None]:
    """The names of the outputs by tensor, and that of the input, from the first signature; empty where there is none.

    `get_signature_list` gives names without tensors.
    """
    for signature in interpreter._get_full_signature_list().values():
        names = {index: name for name, index in signature["outputs"].items()}
        return names, next(iter(signature["inputs"]), None)
    return {}, None


def _metadata(content: bytes) -> dict[str, str]:
    """The texts that a file states, by key. What is no text, as TensorFlow's own entries, is left out."""
    schema = require("ai_edge_litert.schema_py_generated", "litert")
    model = schema.Model.GetRootAs(content)
    found: dict[str, str] = {}
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        buffer = model.Buffers(entry.Buffer())
        data = buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b""
        try:
            found[entry.Name().decode()] = data.decode()
        except UnicodeDecodeError:
            continue
    return found


RUNTIME = LiteRT()
