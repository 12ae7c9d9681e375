"""Core ML: `.mlpackage` files. Everybody can open one and read what it states; only macOS runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from archc.extras import quiet_logs, require
from archc.ir.state import Array
from archc.runtimes.protocol import CannotRunError, Port, Runtime, Session, check_images

OUTPUTS = "archc_outputs"
"""The names of outputs by those in the file, as JSON; see `archc.backends.coreml`."""

_GREY = 10
"""The colour spaces of images by their numbers in the format: this one, and 20 and 30 for RGB and BGR."""

_TYPES = {65568: "float32", 65552: "float16", 131104: "int32"}
"""The types of arrays by their numbers in the format."""


class CoreMLSession(Session):
    """An opened `.mlpackage`. `spec` is its description and its program, as coremltools reads it."""

    def __init__(self, path: Path, spec: Any) -> None:
        self.spec = spec
        described = spec.description
        if len(described.input) != 1:
            raise ValueError(f"it has {len(described.input)} inputs; a network for images has one")
        source = described.input[0]
        self.pixels = source.type.WhichOneof("Type") == "imageType"
        self.input = _image(source) if self.pixels else _array(source)
        self.metadata = dict(described.metadata.userDefined)
        names = json.loads(self.metadata.get(OUTPUTS, "{}"))
        self._names = {output.name: names.get(output.name, output.name) for output in described.output}
        self.outputs = tuple(self._names.values())
        self._one_by_one = self.input.shape[0] is None
        self._model = _model(path) if sys.platform == "darwin" else None

    def prepare(self, images: Array) -> list[dict[str, Any]]:
        """See `Session.prepare`. A file for one image takes several one by one."""
        check_images(self.input, images)
        if not self._one_by_one:
            return [{self.input.name: images}]
        if not self.pixels:
            return [{self.input.name: images[i : i + 1]} for i in range(len(images))]
        pillow = require("PIL.Image", "predict")
        rows = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        return [{self.input.name: pillow.fromarray(row.squeeze(-1) if row.shape[-1] == 1 else row)} for row in rows]

    def execute(self, prepared: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run the network.

        Raises:
            CannotRunError: this is not macOS.
        """
        if self._model is None:
            raise CannotRunError(
                "Core ML runs on Apple's systems only; this one opens the file and reads what it states"
            )
        found: list[dict[str, Any]] = self._model.predict(prepared)
        return found

    def results(self, raw: list[dict[str, Any]]) -> dict[str, Array]:
        """See `Session.results`."""
        return {
            name: np.concatenate([np.asarray(one[inside], np.float32) for one in raw])
            for inside, name in self._names.items()
        }


class CoreML(Runtime):
    """`coremltools`, which calls Core ML."""

    name = "coreml"

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """See `Runtime.open`. Core ML has no setting for threads."""
        if threads is not None:
            raise ValueError("Core ML itself decides how many threads compute; leave `threads` out")
        utils = require("coremltools.models.utils", "coreml")
        message = require("google.protobuf.message", "coreml")
        if not path.is_dir():
            raise ValueError(f"`{path}` is no directory, as an `.mlpackage` is")
        try:
            with quiet_logs():
                spec = utils.load_spec(str(path))
        except (message.DecodeError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"`{path}` is damaged, or no `.mlpackage`: {reason}") from None
        try:
            return CoreMLSession(path, spec)
        except ValueError as error:
            raise ValueError(f"`{path}` is no network for images: {error}") from None


def _image(source: Any) -> Port:
    """An image input. It takes one image, and Core ML runs several of them one by one."""
    kind = source.type.imageType
    height, width = kind.height, kind.width
    channels = 1 if kind.colorSpace == _GREY else 3
    if kind.WhichOneof("SizeFlexibility") is None:
        return Port(source.name, (None, channels, height, width), "uint8")
    return Port(source.name, (None, channels, None, None), "uint8")


def _array(source: Any) -> Port:
    kind = source.type.multiArrayType
    shape: list[int | None] = list(kind.shape)
    if kind.WhichOneof("ShapeFlexibility") == "shapeRange":
        ranges = kind.shapeRange.sizeRanges
        shape = [one.lowerBound if one.lowerBound == one.upperBound else None for one in ranges]
    elif kind.WhichOneof("ShapeFlexibility") is not None:
        shapes = list(zip(*[one.shape for one in kind.enumeratedShapes.shapes], strict=True))
        shape = [sizes[0] if len(set(sizes)) == 1 else None for sizes in shapes]
    if shape and shape[0] == 1:
        shape[0] = None  # several run one by one
    return Port(source.name, tuple(shape), _TYPES.get(kind.dataType, f"type {kind.dataType}"))


def _model(path: Path) -> Any:
    with quiet_logs():
        return require("coremltools", "coreml").models.MLModel(str(path))


RUNTIME = CoreML()
