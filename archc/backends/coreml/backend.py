"""Core ML behind archc's protocol."""

from __future__ import annotations

from pathlib import Path

from archc.backends.coreml.emit import emit, takes_pixels
from archc.backends.coreml.rules import supports
from archc.backends.coreml.sizes import takes_any
from archc.backends.protocol import DEFAULT_FORM, Emitter, Form, check, raw
from archc.document.diagnostics import fail
from archc.ir.graph import Graph
from archc.ir.ops import Op
from archc.ir.state import State


class CoreML(Emitter):
    """`.mlpackage` files with an ML program, for iOS 16 and macOS 13 or later; of a detector, the plain network.

    They are written on any system, and run on Apple's only.

    The input is a tensor of floats. Where the graph takes pixels, it is an image of Core ML's own type, in RGB or in
    grey: what Vision, the camera and Xcode's preview give, with no code for conversion.

    A file without a stated batch takes one image, and Core ML itself runs a batch of them (`MLBatchProvider`, or a list
    in coremltools), since a fixed shape is what the Neural Engine runs. For the same reason a file takes images of any
    size only if that is asked for; a side then has up to eight times the graph's.
    """

    name = "coreml"
    suffix = ".mlpackage"
    precisions = ("f32", "f16")
    prefers_one_size = True
    file = "an `.mlpackage`"

    def supports(self, op: Op) -> bool:
        """Whether there is a rule for it."""
        return supports(op)

    def covers(self, graph: Graph) -> Graph:
        """Without what makes boxes, and without what runs on proposals."""
        return raw(graph)

    def any_size(self, graph: Graph) -> bool:
        """Whether no operation of the file depends on the height and width."""
        return takes_any(self.covers(graph))

    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """See `Emitter.emit`. The file is a directory."""
        self.require(graph)
        check(state, graph)
        _check_form(graph, form)
        self.check_form(graph, form)
        emit(self.covers(graph), state, path, form)


def _check_form(graph: Graph, form: Form) -> None:
    """Refuse a form that Core ML has no file for."""
    if form.precision not in CoreML.precisions:
        message = f"archc writes no `.mlpackage` in {form.precision}"
        raise fail("unsupported-form", message, help="export in f32 or f16")
    if not takes_pixels(graph):
        return
    channels = graph.input.shape[0]
    if channels not in (1, 3):
        message = f"an image of Core ML's has 3 channels, or 1 in grey, not {channels}"
        raise fail("unsupported-form", message, help="export without `preprocess`: the input is then a tensor")
    if form.batch not in (None, 1):
        message = f"an image input of Core ML's takes one image, not {form.batch}"
        help = "leave the batch out: Core ML itself runs several images; or export without `preprocess`"
        raise fail("unsupported-form", message, help=help)


BACKEND = CoreML()
