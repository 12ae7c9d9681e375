"""OpenVINO: `.xml` and `.onnx` files, by its kernels for the CPU.

They compute in 32-bit floats here, except where the file itself asks for integers. OpenVINO's own default on newer
processors is bfloat16, whose results differ in the third digit; `openvino-bf16` is that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np

from archc.extras import require
from archc.ir.state import Array
from archc.runtimes.protocol import Port, Runtime, Session, cannot_take, check_images


class OpenVINOSession(Session):
    """An opened file. `compiled` is OpenVINO's compiled model."""

    def __init__(self, compiled: Any, metadata: Mapping[str, str]) -> None:
        self.compiled, self.metadata = compiled, metadata
        if len(compiled.inputs) != 1:
            raise ValueError(f"it has {len(compiled.inputs)} inputs; a network for images has one")
        self._request = compiled.create_infer_request()
        source = compiled.inputs[0]
        shape = tuple(size.get_length() if size.is_static else None for size in source.get_partial_shape())
        self.input = Port(_name(source), shape, source.get_element_type().to_dtype().name)
        self.outputs = tuple(_name(output) for output in compiled.outputs)

    def prepare(self, images: Array) -> Array:
        """See `Session.prepare`."""
        check_images(self.input, images)
        return np.ascontiguousarray(images)

    def execute(self, prepared: Array) -> Any:
        """See `Session.execute`. The results stay until the next run."""
        try:
            return self._request.infer({0: prepared}, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise cannot_take(prepared.shape, _reason(error)) from None

    def results(self, raw: Any) -> dict[str, Array]:
        """See `Session.results`."""
        return {name: _copy(raw[number]) for number, name in enumerate(self.outputs)}


class OpenVINO(Runtime):
    """`openvino`, on the CPU."""

    name = "openvino"
    computes_in: ClassVar[str] = "f32"
    """The type of the numbers, where the file has floats."""

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`."""
        library = require("openvino", "openvino")
        with path.open("rb"):
            pass  # the library's own errors do not say why a file cannot be read
        if path.suffix == ".xml":
            _check(path)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.computes_in}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = library.Core()
            model = core.read_model(path)
            return OpenVINOSession(core.compile_model(model, "CPU", settings), _metadata(model))
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"`{path}` is damaged, or no file that OpenVINO runs: {_reason(error)}") from None


def _check(path: Path) -> None:
    """Check what OpenVINO would report on the console, too.

    Raises:
        ValueError: the file is no network of OpenVINO's, or its weights are missing.
    """
    try:
        root = ElementTree.parse(path).getroot().tag
    except ElementTree.ParseError as error:
        raise ValueError(f"`{path}` is damaged: {error}") from None
    if root != "net":
        raise ValueError(f"`{path}` is no network of OpenVINO's: it starts with `{root}`")
    weights = path.with_suffix(".bin")
    if not weights.exists():
        raise ValueError(f"the weights of `{path}` are missing: there is no `{weights.name}` beside it")


def _metadata(model: Any) -> dict[str, str]:
    """What archc wrote into OpenVINO's own format, or what an ONNX file says."""
    for section in ("archc", "framework"):
        if model.has_rt_info([section]):
            found = model.get_rt_info([section]).value
            if isinstance(found, Mapping):
                return {key: value for key, value in found.items() if isinstance(value, str)}
    return {}


def _name(port: Any) -> str:
    names = port.get_names()
    return min(names) if names else str(port.get_node().get_friendly_name())


def _copy(value: Any) -> Array:
    array = np.array(value)
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array


def _reason(error: Exception) -> str:
    """The last line that says something; those before name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


RUNTIME = OpenVINO()
