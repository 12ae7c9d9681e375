"""What a network does, by what its spec says: the one place that decides."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from archc.document.diagnostics import Diagnostic
from archc.ir.graph import Graph
from archc.ir.ops import Image, Tokens, Vector, show
from archc.language.schema import Spec
from archc.prediction.errors import TaskError

Kind = Literal["classes", "mask", "boxes"]

MAIN: Final = "out"
"""Torchvision's name for the output that counts, where a network has auxiliary ones, too."""


class Task(NamedTuple):
    """What is predicted: the classes of a picture, of its pixels (`mask`), or of what boxes enclose.

    `output` is the key of what is shown, where the network returns a mapping.
    """

    kind: Kind
    classes: int
    output: str | None = None


def task_of(spec: Spec, graph: Graph) -> Task:
    """The task that a network was made for: `detector:` finds boxes, a vector tells classes, an image is a mask.

    Of several outputs, `out` is meant, or the first where none has that name. An image is a mask if it has a channel
    for each of `num_classes`, or the input's own size; anything else is a feature map.

    Raises:
        TaskError: it returns features rather than scores; a mask whose classes are fewer than two; an override
            that would crop a mask's picture.
    """
    if spec.detector is not None:
        return Task("boxes", spec.num_classes)
    key = MAIN if MAIN in graph.outputs else next(iter(graph.outputs))
    node = graph.outputs[key]
    shape = graph.shapes()[node]
    output = None if graph.single else key
    if isinstance(shape, Vector):
        if spec.outputs is not None and shape.channels != spec.num_classes:  # a layer before the classes, most likely
            raise _features(spec, graph, node)
        return Task("classes", shape.channels, output)
    if isinstance(shape, Tokens) or not _is_mask(spec, graph, shape):
        raise _features(spec, graph, node)
    if shape.channels < 2:
        message = f"`{spec.name}` returns one channel, but a mask needs the scores of two classes or more"
        raise TaskError(Diagnostic("not-a-classifier", message, spec.span("num_classes")))
    crop = spec.span("input", "crop")
    if spec.input.crop != 1 and crop is not None and crop.source.kind != "file":  # a file's may be a classifier's own
        message = f"a mask covers the whole picture, so `input.crop` cannot be {spec.input.crop:g}"
        raise TaskError(Diagnostic("mask-crop", message, crop, help="leave it out"))
    return Task("mask", shape.channels, output)


def _is_mask(spec: Spec, graph: Graph, shape: Image) -> bool:
    if shape.height == shape.width == 1:  # one position: classes that were not flattened, or pooled features
        return False
    return shape.channels == spec.num_classes or shape[1:] == graph.input.shape[1:]


def _features(spec: Spec, graph: Graph, node: str) -> TaskError:
    shape = graph.shapes()[node]
    what = f"{shape.channels:,} numbers" if isinstance(shape, Vector) else show(shape)
    message = f"`{spec.name}` returns features: {what} at `{node}`, but `num_classes` is {spec.num_classes:,}"
    if shape.channels == spec.num_classes:
        message = f"`{spec.name}` returns {what} at `{node}`: neither a vector of classes, nor a mask"
    names = ", ".join(f"`{name}`" for name in graph.outputs)
    several = f"of its outputs ({names}), `{MAIN}` is meant, or the first"
    notes = (several,) if len(graph.outputs) > 1 else ()
    stated = spec.outputs is not None
    help = "`outputs` chooses what is returned; leave it out to get the last stage" if stated else ""
    span = spec.span("outputs") if stated else None
    return TaskError(Diagnostic("not-a-classifier", message, span, notes=notes, help=help))
