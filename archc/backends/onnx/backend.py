"""ONNX behind archc's protocol."""

from __future__ import annotations

from pathlib import Path

from archc.analysis.sizes import takes_any_size
from archc.backends.onnx.detection import add_anchors, add_boxes, check_boxes
from archc.backends.onnx.emit import network
from archc.backends.onnx.rules import supports
from archc.backends.protocol import DEFAULT_FORM, Emitter, Form, Precision, check, raw
from archc.document.diagnostics import fail
from archc.ir.graph import Graph
from archc.ir.ops import Op
from archc.ir.state import State
from archc.language.detector import Ssd

LARGEST = 2_000_000_000
"""Bytes of weights in one file: a protocol buffer ends at 2 GiB, and the rest needs room, too."""

_BYTES: dict[Precision, int] = {"f32": 4, "f16": 2, "int8": 4}
"""Bytes of a number at most."""


class ONNX(Emitter):
    """`.onnx` files. A detector's hold its raw predictions, or with `Form.boxes` the boxes of one image."""

    name = "onnx"
    suffix = ".onnx"
    precisions = ("f32", "f16", "int8")
    returns_boxes = True
    file = "an `.onnx` file"

    def supports(self, op: Op) -> bool:
        """Whether there is a rule for it."""
        return supports(op)

    def covers(self, graph: Graph) -> Graph:
        """Without what runs on proposals, which needs no operations of its own kind: fully connected layers."""
        return raw(graph)

    def any_size(self, graph: Graph) -> bool:
        """Whether no layer depends on the size of the feature maps. An SSD has one size, and its anchors are fixed."""
        return takes_any_size(raw(graph)) and not isinstance(graph.detector, Ssd)

    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """See `Emitter.emit`."""
        self.require(graph)
        check(state, graph)
        self.check_form(graph, form)
        covered = graph if form.boxes else raw(graph)
        size = sum(weight.size for _, weight in covered.tensors()) * _BYTES[form.precision]
        if size > LARGEST:
            message = f"`{graph.name}` has {size / 1e9:.1f} GB of weights; an `.onnx` file holds at most 2 GB"
            raise fail("unsupported-form", message, help="make the network smaller, or write half the bytes: `f16`")
        if form.boxes:
            check_boxes(graph, form)
        made = network(raw(graph), state, form)
        if form.boxes:
            add_boxes(made, graph)
        else:
            add_anchors(made, graph)
        path.write_bytes(made.finish())


BACKEND = ONNX()
