"""OpenVINO behind archc's protocol: the network as ONNX, read by OpenVINO and written in its own format."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from archc.backends import emitter
from archc.backends.protocol import DEFAULT_FORM, Emitter, Form
from archc.extras import require
from archc.ir.graph import Graph
from archc.ir.ops import Op
from archc.ir.state import State

METADATA = "archc"
"""The section of a file's runtime information that holds what the file says about itself."""


class OpenVINO(Emitter):
    """`.xml` files, each with its weights in a `.bin` of the same name beside it."""

    name = "openvino"
    suffix = ".xml"
    precisions = ("f32", "f16", "int8")
    returns_boxes = True

    def supports(self, op: Op) -> bool:
        """Whether ONNX has a rule for it; OpenVINO reads all that these rules write."""
        return emitter("onnx").supports(op)

    def covers(self, graph: Graph) -> Graph:
        """As ONNX."""
        return emitter("onnx").covers(graph)

    def any_size(self, graph: Graph) -> bool:
        """As ONNX."""
        return emitter("onnx").any_size(graph)

    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """See `Emitter.emit`. With `f16` the weights are stored so; OpenVINO chooses the type that it computes in."""
        self.require(graph)
        library = require("openvino", "openvino")
        plain = replace(form, precision="f32" if form.precision == "f16" else form.precision, metadata={})
        with tempfile.TemporaryDirectory(prefix="archc-") as directory:
            file = Path(directory) / "network.onnx"
            emitter("onnx").emit(graph, state, file, plain)
            model = library.Core().read_model(file)
            _rename(model)
            for key, value in form.metadata.items():
                model.set_rt_info(value, [METADATA, key])
            library.save_model(model, path, compress_to_fp16=form.precision == "f16")


_COUNTED = re.compile(r"[A-Za-z]+_\d+")
"""Names that OpenVINO makes, by a counter that runs through the process."""


def _rename(model: Any) -> None:
    """Give what has no name of its own one that depends on the network alone."""
    model.set_friendly_name(model.get_friendly_name())
    for number, op in enumerate(model.get_ordered_ops()):
        if _COUNTED.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}_{number}")


BACKEND = OpenVINO()
