"""A detector's file: with boxes, or an SSD's raw predictions beside their anchors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from archc.analysis.anchors import anchors, box_weights
from archc.backends.default_boxes import default_boxes
from archc.backends.onnx.boxes import Steps
from archc.backends.onnx.emit import Emission, Output
from archc.backends.onnx.proposals import faster_rcnn
from archc.backends.onnx.writer import Dim
from archc.backends.protocol import BOXES, Form
from archc.document.diagnostics import fail
from archc.ir.graph import Call, Graph
from archc.ir.ops import Image
from archc.language.detector import Ssd


def check_boxes(graph: Graph, form: Form) -> None:
    """Check that a file can return boxes in this form.

    Raises:
        SpecError: `unsupported-form`.
    """
    if graph.detector is None:
        raise fail("unsupported-form", f"`{graph.name}` is no detector, so its file returns no boxes")
    if form.batch != 1 or form.any_size:
        message = "a file with boxes takes one image at a time, of one size: images have different numbers of boxes"
        raise fail("unsupported-form", message, help="leave `batch` and `any_size` out")


def add_boxes(made: Emission, graph: Graph) -> None:
    """Let a file return a detector's boxes, labels and scores in place of its raw predictions."""
    steps = Steps(made.writer, graph)
    found = {name: made.outputs[name].value for name in graph.outputs}
    made.writer.scope = "boxes"
    if isinstance(graph.detector, Ssd):
        values = _ssd(steps, graph.detector, graph, found)
    else:
        levels = {name: made.real(node) for name, node in graph.levels.items()}
        values = faster_rcnn(steps, graph, found, levels, partial(_call, made, graph.calls[0]))
    made.writer.scope = ""
    shapes: tuple[list[Dim], ...] = (["detections", 4], ["detections"], ["detections"])
    types = ("float32", "int64", "float32")
    made.outputs = {
        name: Output(values[name], dtype, shape) for name, dtype, shape in zip(BOXES, types, shapes, strict=True)
    }


def add_anchors(made: Emission, graph: Graph) -> None:
    """Let a file with an SSD's raw predictions return its default boxes, too; nothing is added to other networks'."""
    for name, boxes in default_boxes(graph).items():
        value = made.writer.add("Identity", [made.writer.constant(boxes, "default_boxes")])
        made.outputs[name] = Output(value, "float32", list(boxes.shape))


def _call(made: Emission, call: Call, features: str) -> Mapping[str, str]:
    found = made.call(call, features)
    made.writer.scope = "boxes"
    return found


def _ssd(steps: Steps, settings: Ssd, graph: Graph, found: Mapping[str, str]) -> dict[str, str]:
    """Torchvision's `SSD.postprocess_detections`."""
    classes, shapes = graph.num_classes, graph.shapes()
    kinds = {"joint": 4 + classes} if settings.head.joint else {"regression": 4, "classification": classes}
    rows: dict[str, str] = {}
    for kind, columns in kinds.items():
        levels = []
        for level in graph.levels:
            name = f"{kind}_{level}"
            shape = shapes[graph.outputs[name]]
            assert isinstance(shape, Image)
            levels.append(steps.rows(found[name], columns, shape))
        rows[kind] = steps.add("Concat", *levels, axis=0) if len(levels) > 1 else levels[0]
    if settings.head.joint:
        deltas, logits = steps.several("Split", 2, rows["joint"], steps.integers(4, classes), axis=1)
    else:
        deltas, logits = rows["regression"], rows["classification"]
    start = np.concatenate(anchors(graph))
    boxes = steps.decode(deltas, steps.placed(start), box_weights(settings))
    most = min(settings.topk_candidates, len(start))
    scores, index = steps.several("TopK", 2, steps.by_class(logits), steps.integers(most), axis=1)
    return steps.detections(
        steps.add("Gather", boxes, index, axis=0),
        scores,
        settings.detections_per_img,
        settings.nms_thresh,
        settings.score_thresh,
    )
