"""LiteRT behind archc's protocol."""

from __future__ import annotations

from pathlib import Path

from archc.backends.default_boxes import default_boxes
from archc.backends.litert import sizes
from archc.backends.litert.emit import emit
from archc.backends.litert.rules import supports
from archc.backends.protocol import DEFAULT_FORM, Emitter, Form, check, raw
from archc.document.diagnostics import fail
from archc.ir.graph import Graph
from archc.ir.ops import Op
from archc.ir.state import State
from archc.language.detector import Ssd

LARGEST = 2**31
"""The format's offsets have 31 bits."""

BYTES = {"f32": 4, "f16": 2, "int8": 1}
"""What a weight takes."""


class LiteRT(Emitter):
    """`.tflite` files, channels last; of a detector, the plain network with the heads on its levels."""

    name = "litert"
    suffix = ".tflite"
    precisions = ("f32", "f16", "int8")

    def supports(self, op: Op) -> bool:
        """Whether there is a rule for it."""
        return supports(op)

    def covers(self, graph: Graph) -> Graph:
        """Without what makes boxes, and without what runs on proposals."""
        return raw(graph)

    def any_size(self, graph: Graph) -> bool:
        """Whether no operation depends on the height and width. An SSD has one size, and its anchors are fixed."""
        return sizes.any_size(self.covers(graph)) and not isinstance(graph.detector, Ssd)

    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """See `Emitter.emit`."""
        self.require(graph)
        check(state, graph)
        self.check_form(graph, form)
        covered = self.covers(graph)
        if (form.precision == "int8") != (form.quantization is not None):
            message = "a `.tflite` file in int8 needs the ranges of the network's values, and no other file takes them"
            raise fail("unsupported-form", message)
        size = sum(weight.size for _, weight in covered.tensors()) * BYTES[form.precision]
        if size >= LARGEST:
            message = (
                f"a `.tflite` file holds less than 2 GiB; the weights of `{graph.name}` are {size / 2**30:.1f} GiB"
            )
            raise fail("unsupported-form", message)
        path.write_bytes(emit(covered, state, form, default_boxes(graph)))


BACKEND = LiteRT()
